"""Switches on the digits with everything real: compute, OpenVINO, HTTP, restarts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stillhouse_benchmark.backends import load_backend
from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.job import Bench, run_job
from stillhouse_benchmark.protocol import Job

pytestmark = [
    pytest.mark.slow,  # a real study, and two servers that import torch
    pytest.mark.timeout(600),
]
TEMPLATE = """\
version: 1
pruners:
  filters:
    class: L1RankedStructureParameterPruner
    group_type: Filters
    desired_sparsity: !float {low: 0.1, high: 0.8, default: 0.6}
    weights: [conv2.weight]
policies:
  - pruner: {instance_name: filters}
    epochs: [0]
"""
TRAINING = """\
epochs: 1
recovery_epochs: 1
effective_train_size: 0.1
lr: !float {low: 0.001, high: 0.01, log: true, default: 0.005}
"""
TIMING = {"n_compilations": 1, "max_aa_deviation": 10.0, "time_limit_s": 2.0}


class Device:
    """A host whose jobs are run by OpenVINO in this process."""

    def __init__(self, server: Any, host: Any, folder: Path) -> None:
        self.server, self._host, self._folder = server, host, folder
        self._backend = load_backend("openvino")
        self.belong_to(server, host)
        self.jobs: list[Job] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def belong_to(self, server: Any, host: Any) -> None:
        """Be announced to a server, as what it is."""
        about = {"runtime": self._backend.name, "runtime_version": self._backend.version}
        host.device |= about
        host.register()
        self.server, self._host = server, host

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(timeout=120)

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                answer = self._host.ask(0.2)
                if answer.status_code == 200:
                    self._do(answer.json(), self._backend)
            except httpx.TransportError:  # the server is being restarted; its job is lost, too
                time.sleep(0.1)

    def _do(self, lease: dict[str, Any], backend: Any) -> None:
        job = Job.from_json(lease["job"])
        self.jobs.append(job)
        work = self._folder / job.id
        work.mkdir(exist_ok=True)
        for old in work.iterdir():
            old.unlink()
        files = _Files(self.server, self._folder)
        bench = Bench(backend, files, work, self._folder / "ranks", self._folder)
        try:
            result = run_job(job, bench, lambda stage, fraction: None)
        except JobFailed as failed:
            self._host.fail(lease, failed.failure_class, reason=failed.reason)
        else:
            self._host.tell(lease, "result", result=result.to_json())


class _Files(dict[str, Path]):
    """Artifacts as files, fetched when they are asked for."""

    def __init__(self, server: Any, folder: Path) -> None:
        super().__init__()
        self._server, self._folder = server, folder

    def __contains__(self, sha256: object) -> bool:
        return True

    def __missing__(self, sha256: str) -> Path:
        path = self._folder / sha256
        path.write_bytes(self._server.artifacts.read(sha256))
        self[sha256] = path
        return path


def _until(is_so: Any, what: str, timeout_s: float = 240.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)
    return found


@pytest.fixture
def device(serve: Any, connect: Any, tmp_path: Path) -> Iterator[Device]:
    server = serve(compute="embedded")
    folder = tmp_path / "device"
    folder.mkdir()
    one = Device(server, connect(server), folder)
    yield one
    one.stop()


def test_what_is_known_is_not_computed_again(device: Device, serve: Any, connect: Any) -> None:
    server = device.server
    recipe = {"epochs": 1, "effective_train_size": 0.3, "lr": 0.05}
    wanted = {"model": "simplenet_cifar", "dataset": "digits", "recipe": recipe}
    baseline = server.http.post("/v1/baselines", json=wanted).json()["id"]
    _until(
        lambda: server.get(f"/v1/baselines/{baseline}")["state"] == "complete", "a baseline", 120
    )
    study = server.study(
        baseline=baseline,
        template=TEMPLATE,
        training=TRAINING,
        probe="on",
        constraints=["top1_drop <= 0.9"],
        budget={"trials": 6},
        timing=TIMING,
        optimizer={"n_initial": 6},
    )

    def trials(at: Any) -> list[dict[str, Any]]:
        rows = at.get(f"/v1/studies/{study}/trials")["items"]
        return [at.get(f"/v1/trials/{row['id']}") for row in rows]

    first = _until(
        lambda: next((t for t in trials(server) if t["state"] == "complete"), None), "a trial"
    )
    twin = server.http.post(f"/v1/studies/{study}/trials", json={"config": first["config"]}).json()
    assert (twin["twin_of"], twin["metrics"]) == (first["id"], first["metrics"])

    # Another server takes over in the middle of it.
    server.stop()
    again = serve(compute="embedded")
    device.belong_to(again, connect(again))
    _until(lambda: again.get(f"/v1/studies/{study}")["state"] == "finished", "the study's end", 400)
    ended = trials(again)
    run = [t for t in ended if t["origin"] != "twin"]
    assert len(run) == 6  # the twin used no budget
    for trial in run:
        assert trial["state"] in ("complete", "stopped"), trial["failure"]
        if trial["probe"] is None:
            continue  # there was nothing to beat yet
        assert trial["metrics"]["latency_ratio"] > 0
        if trial["state"] == "stopped":
            assert "top1" not in trial["metrics"]
        elif trial["metrics"].get("n_measurements", 1) == 1:  # the winner was timed again
            assert trial["latency_from"] is not None  # its probe's times, or an earlier trial's
    probed = [t for t in run if t["probe"] is not None]
    assert len(probed) >= 3
    # 0.6 of the filters was the first to go; what keeps more of them is slower.
    slower = [t for t in probed if t["state"] == "stopped"]
    assert slower
    n_timed = sum(job.timing is None and job.is_judged for job in device.jobs)
    assert n_timed < len(device.jobs)
    saved = again.get(f"/v1/studies/{study}")["saved"]
    assert (saved["n_twins"], saved["n_not_trained"]) == (1, len(slower))
    assert saved["compute_s"] > 0


LEVELS = """\
version: 1
pruners:
  filters:
    class: L1RankedStructureParameterPruner
    group_type: Filters
    desired_sparsity: !choice [0.3, 0.6, 0.97]
    weights: [conv2.weight]
policies:
  - pruner: {instance_name: filters}
    epochs: [0]
"""
RATE = """\
epochs: 1
effective_train_size: 0.1
batch_size: 32
lr_schedule: constant
lr: !float {low: 0.002, high: 0.01, log: true, default: 0.005}
"""
# An objective that is no time, so that two runs of one study measure the same.
COUNTED = {"template": LEVELS, "objectives": ["params"], "constraints": ["top1_drop <= 0.2"]}
ENDED_EARLY = COUNTED | {
    "training": RATE + "recovery_epochs: 3\n",
    "early_stop": "bold",
    "budget": {"trials": 7},
    "optimizer": {"n_initial": 9},
}
RUNGS = COUNTED | {
    "training": RATE,
    "fidelity": {"recovery_epochs": [1, 2], "validation_images": [60], "reduction": 2},
    "budget": {"trials": 4},
    "optimizer": {"n_initial": 4},
}


def _told(server: Any, study: str) -> list[dict[str, Any]]:
    """What came of each trial, but for times."""
    rows = server.get(f"/v1/studies/{study}/trials?page_size=100")["items"]
    numbers = {row["id"]: row["number"] for row in rows}
    names = ("top1", "top1_drop", "top1_drop_high", "top1_high", "params", "validation_top1")
    return [
        {
            **{name: row[name] for name in ("number", "state", "config", "rung", "seed")},
            "below": numbers.get(row["promoted_from"]),
            "by": row["progress"].get("by"),
            "metrics": {name: (row["metrics"] or {}).get(name) for name in names},
            "is_feasible": row["is_feasible"],
        }
        for row in rows
    ]


def test_early_stops_and_rungs_are_the_same_with_a_restart_in_the_middle(
    device: Device, serve: Any, connect: Any
) -> None:
    server = device.server
    recipe = {"epochs": 3, "effective_train_size": 0.6, "lr": 0.05, "batch_size": 32}
    wanted = {"model": "simplenet_cifar", "dataset": "digits", "recipe": recipe}
    baseline = server.http.post("/v1/baselines", json=wanted).json()["id"]
    _until(
        lambda: server.get(f"/v1/baselines/{baseline}")["state"] == "complete", "a baseline", 120
    )

    def begin(asked: dict[str, Any]) -> str:
        study: str = server.study(baseline=baseline, timing=TIMING, **asked)
        return study

    def is_over(at: Any, *studies: str) -> bool:
        try:
            return all(at.get(f"/v1/studies/{one}")["state"] == "finished" for one in studies)
        except httpx.TimeoutException:  # server and device share this process, and its one lock
            return False

    whole = [begin(ENDED_EARLY), begin(RUNGS)]
    _until(lambda: is_over(server, *whole), "the end of the studies", 400)

    early = [server.get(f"/v1/trials/{t['id']}") for t in _rows(server, whole[0])]
    lost = [t for t in early if t["progress"].get("by") == "early_stop"]
    assert lost, [(t["state"], t["config"], t["metrics"]) for t in early]
    for trial in lost:
        assert trial["state"] == "stopped" and trial["is_feasible"] is False
        assert len(trial["history"]) < 4  # of one epoch and three
        assert "could reach" in trial["ended_early"]
        assert trial["metrics"]["top1_drop_low"] > 0.2
        assert "top1" not in trial["metrics"]  # the device has never seen it
    saved = server.get(f"/v1/studies/{whole[0]}")["saved"]
    assert saved["n_ended_early"] == len(lost) and saved["compute_s"] > 0

    climbed = [server.get(f"/v1/trials/{t['id']}") for t in _rows(server, whole[1])]
    low, top = ([t for t in climbed if t["rung"] == rung] for rung in (0, 1))
    assert len(low) == 4 and 1 <= len(top) <= 2  # one in two goes on
    by_id = {t["id"]: t for t in climbed}
    for trial in low:
        assert (trial["state"], trial["n_images"], len(trial["history"])) == ("stopped", 60, 2)
        n_wrong = 60 * (1 - trial["metrics"]["top1"])
        assert n_wrong == pytest.approx(round(n_wrong))  # of sixty images
    for trial in top:
        below = by_id[trial["promoted_from"]]
        assert (trial["state"], trial["n_images"], len(trial["history"])) == ("complete", 300, 3)
        assert trial["history"][:2] == below["history"]  # it went on where that one ended
        assert trial["artifacts"]["weights"] != below["artifacts"]["weights"]
    ended = server.get(f"/v1/studies/{whole[1]}")
    assert ended["incumbent"]["trial_id"] in {t["id"] for t in top}

    # The same two again, and another server takes over in the middle of both.
    again = [begin(ENDED_EARLY), begin(RUNGS)]
    _until(
        lambda: all(sum(_is_told(t) for t in _rows(server, one)) >= 2 for one in again),
        "two trials of each",
    )
    server.stop()
    other = serve(compute="embedded")
    device.belong_to(other, connect(other))
    _until(lambda: is_over(other, *again), "the end of the studies", 400)
    for uninterrupted, interrupted in zip(whole, again, strict=True):
        assert _told(other, interrupted) == _told(other, uninterrupted)
        ends = [other.get(f"/v1/studies/{one}") for one in (uninterrupted, interrupted)]
        assert ends[0]["incumbent"]["number"] == ends[1]["incumbent"]["number"]
        assert ends[0]["final"]["top1"] == ends[1]["final"]["top1"]


def _rows(server: Any, study: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = server.get(f"/v1/studies/{study}/trials?page_size=100")["items"]
    return items


def _is_told(trial: dict[str, Any]) -> bool:
    return trial["state"] in ("complete", "stopped", "failed")
