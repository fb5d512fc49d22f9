"""Disks that are really full: a tmpfs of a few megabytes, filled to its last byte."""

import base64
import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse_service import checkpoints
from stillhouse_service.artifacts import ArtifactStore

MEGABYTE = 2**20


class Disk:
    """A small filesystem of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, n_left: int = 0) -> None:
        """Write until nothing goes any more, then give `n_left` bytes back."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (MEGABYTE, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC  # the real thing
        if n_left:
            os.truncate(self._filler, self._filler.stat().st_size - n_left)

    def empty(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a filesystem can be mounted by root alone")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _until(is_so: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


def test_a_full_store_takes_nothing_by_halves_and_goes_on_when_there_is_room(disk: Disk) -> None:
    store = ArtifactStore(disk.folder / "artifacts")
    kept = store.put(b"kept")
    checkpoints.save(store.place, "job_1", b"epoch 1")
    disk.fill()
    with pytest.raises(OSError) as refused:
        store.put(os.urandom(MEGABYTE))
    assert refused.value.errno == errno.ENOSPC
    checkpoints.save(store.place, "job_1", os.urandom(MEGABYTE))  # costs the checkpoint alone
    assert checkpoints.load(store.place, "job_1") == b"epoch 1"
    names = {file.name for file in store.place.files()}
    assert names == {f"{kept.sha256[:2]}/{kept.sha256}", "checkpoints/job_1"}  # no pieces
    assert store.read(kept.sha256) == b"kept"
    disk.empty()
    assert store.put(b"more").n_bytes == 4


def test_a_device_is_asked_to_report_again_when_its_raw_times_do_not_fit(
    disk: Disk, serve: Any, connect: Any, result: Any
) -> None:
    server = serve(artifact_dir=disk.folder / "artifacts")
    host = connect(server)
    server.study()
    lease = host.lease()
    disk.fill()
    report = {**result(), "raw_times": base64.b64encode(os.urandom(MEGABYTE)).decode()}
    answer = host.tell(lease, "result", result=report)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/store-unavailable")
    assert "No space left on device" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    disk.empty()
    assert host.tell(lease, "result", result=report).status_code == 204


def test_a_full_disk_is_told_to_who_watches_the_server(disk: Disk, serve: Any) -> None:
    server = serve(artifact_dir=disk.folder / "artifacts", min_free_bytes=MEGABYTE)
    disk.fill()
    told = server.http.get("/readyz")
    assert (told.status_code, told.json()["status"]) == (200, "degraded")
    parts = {part["name"]: part for part in told.json()["parts"]}
    assert "No space left on device" in parts["artifacts"]["says"]
    assert "the artifact store has 0.0 MB left" in parts["room"]["says"]
    disk.empty()
    _until(lambda: server.get("/readyz")["status"] == "ok", "what was found to be looked at anew")


@pytest.mark.parametrize("n_trials", [3])
def test_a_study_whose_database_is_full_waits_and_loses_nothing(
    disk: Disk, serve: Any, connect: Any, n_trials: int
) -> None:
    server = serve(database_url=f"sqlite:///{disk.folder}/stillhouse.db")
    host = connect(server)
    study = server.study(budget={"trials": n_trials})
    host.measure(host.lease())
    _until(lambda: server.get(f"/v1/studies/{study}/trials")["items"], "the first trial")
    server.compute_all()
    lease = host.lease()
    disk.fill()
    answer = host.measure(lease, ratio=0.9)
    for _ in range(50):  # what SQLite had reserved may take one or two
        if answer.status_code == 503:
            break
        answer = server.http.post(
            "/v1/baselines", json={"model": "resnet20_cifar", "dataset": "digits"}
        )
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/database-unavailable")
    assert "disk is full" in answer.json()["detail"]
    assert server.get(f"/v1/studies/{study}")["state"] == "running"  # it can be looked at
    time.sleep(1.0)  # the driver runs into it, too
    disk.empty()
    assert host.measure(lease, ratio=0.9).status_code in (204, 409)
    host.play(server, study, [0.9] * n_trials)
    ended = server.get(f"/v1/studies/{study}")
    assert (ended["state"], ended["counts"]["complete"]) == ("finished", n_trials)
    with server.store.read() as view:
        last: dict[str, str | None] = {}
        for line in view.log.events(10_000, None):
            if line.kind in ("state", "stage", "attempt"):
                assert line.before == last.get(line.subject), "the log has a gap"
                last[line.subject] = line.after


@pytest.mark.slow  # a server with a worker that imports torch
@pytest.mark.timeout(300)
def test_a_study_says_that_the_store_is_full_and_a_finished_training_waits_for_room(
    disk: Disk, serve: Any
) -> None:
    """Real compute: no stage begins on a full disk, one that has ended keeps what it made."""
    server = serve(
        compute="embedded",
        artifact_dir=disk.folder / "artifacts",
        min_free_bytes=2 * MEGABYTE,
        progress_s=0.0,
    )
    disk.fill(MEGABYTE)
    recipe = {"epochs": 60, "effective_train_size": 0.1}
    wanted = {"model": "simplenet_cifar", "dataset": "digits", "recipe": recipe}
    baseline = server.http.post("/v1/baselines", json=wanted).json()["id"]

    def row() -> Any:
        return server.get(f"/v1/baselines/{baseline}")

    why = _until(lambda: row()["progress"].get("waits_for"), "the baseline to say why it waits")
    assert "MB left" in why and "stillhouse artifacts gc" in why
    disk.empty()
    # From its first epoch on there is no room for the result.
    _until(lambda: row()["progress"].get("epoch"), "the first epoch", 120)
    disk.fill()
    _until(lambda: row()["progress"].get("stage", "").startswith("waiting"), "the full disk")
    assert "No space left on device" in row()["progress"]["why"]
    assert row()["state"] == "training"
    disk.empty()
    _until(lambda: row()["state"] == "complete", "the end", 120)
    with server.store.read() as view:
        attempts = [e for e in view.log.events(1000, None) if e.kind == "attempt" and e.before]
    assert [event.after for event in attempts] == ["succeeded"]  # none was spent
    for sha256 in row()["artifacts"].values():
        server.artifacts.read(sha256)


def test_two_writers_of_a_full_store_do_not_harm_each_other(disk: Disk) -> None:
    store = ArtifactStore(disk.folder / "artifacts")
    disk.fill(3 * MEGABYTE)
    contents = [os.urandom(2 * MEGABYTE) for _ in range(2)]
    outcomes: list[str] = []

    def write(content: bytes) -> None:
        try:
            outcomes.append(store.put(content).sha256)
        except OSError:
            outcomes.append("full")

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for sha256 in set(outcomes) - {"full"}:
        assert len(store.read(sha256)) == 2 * MEGABYTE
    assert "full" in outcomes
