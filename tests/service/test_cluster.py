"""A Dask cluster of its own processes, over TLS, with certificates made here."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest
from certificate_files import make_authority, make_certificate

from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.compute import Compute, End
from stillhouse_service.errors import ComputeUnavailable, SpecRejected
from stillhouse_service.settings import Settings, read_resources

TRAIN = {"model": "simplenet_cifar", "dataset": "digits", "seed": 0}
QUICK = {**TRAIN, "recipe": {"epochs": 1, "effective_train_size": 0.1}}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca.pem`, and `ours.pem` with `ours-key.pem` that it signed; `other*` is another's."""
    folder = tmp_path_factory.mktemp("tls")
    for authority, name in (("ca", "ours"), ("other-ca", "other")):
        make_authority(folder, authority)
        make_certificate(folder, name, authority=authority)
    return folder


def _settings(folder: Path, address: str, who: str = "ours", **changes: Any) -> Settings:
    return Settings(
        compute=address,
        compute_ca=str(folder / ("ca.pem" if who == "ours" else "other-ca.pem")),
        compute_cert=str(folder / f"{who}.pem"),
        compute_key=str(folder / f"{who}-key.pem"),
        n_threads=1,
        progress_s=0.0,
        **changes,
    )


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    begun: list[subprocess.Popen[bytes]] = []
    yield begun
    for process in begun:
        family = [psutil.Process(process.pid)] if process.poll() is None else []
        family = [*(family[0].children(recursive=True) if family else []), *family]
        for one in family:
            one.send_signal(signal.SIGCONT)
            one.kill()
        process.wait(timeout=20)


@pytest.mark.slow  # a scheduler and two workers start, each importing torch
@pytest.mark.timeout(600)
def test_a_tls_cluster_computes_by_resources_and_tells_strangers_apart(
    certificates: Path, processes: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    address = f"tls://127.0.0.1:{port}"
    environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3"}
    scheduler = [
        *(sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", address),
        *("--protocol", "tls", "--no-dashboard", "--tls-ca-file", "ca.pem"),
        *("--tls-cert", "ours.pem", "--tls-key", "ours-key.pem"),
    ]
    processes.append(subprocess.Popen(scheduler, cwd=certificates, env=environment))
    store = ArtifactStore(tmp_path / "artifacts")
    ends: queue.Queue[End] = queue.Queue()
    progress: queue.Queue[Any] = queue.Queue()
    settings = _settings(certificates, address)
    compute = Compute(settings, store, ends.put, lambda *told: progress.put(told))

    def opened(wanted: str) -> None:
        """Try as the driver does until the error is `wanted`, or nothing is wrong."""
        deadline = time.monotonic() + 120
        while True:
            said = ""
            try:
                compute.open()
            except ComputeUnavailable as error:
                said = str(error)
            if re.search(wanted, said) if wanted else not said:
                return
            assert time.monotonic() < deadline, said
            time.sleep(0.3)

    opened(f"no worker is connected to {address}")
    stranger = Compute(_settings(certificates, address, "other"), store, ends.put, print)
    with pytest.raises(ComputeUnavailable, match=address):
        stranger.open()
    worker = [sys.executable, "-m", "stillhouse_service.cli", "compute-worker", address]
    worker += ["--ca", "ca.pem", "--cert", "ours.pem", "--key", "ours-key.pem", "--threads", "1"]
    plain = subprocess.Popen(worker, cwd=certificates, env=environment)
    processes.append(plain)
    opened("")
    big = {**QUICK, "resources": {"BIG": 1}}
    assert compute.missing({"BIG": 1.0}) == (
        "no compute worker offers BIG=1: start one with "
        "`stillhouse compute-worker SCHEDULER --resources 'BIG=1'`"
    )
    able = subprocess.Popen([*worker, "--resources", "BIG=1"], cwd=certificates, env=environment)
    processes.append(able)

    def end(attempt_id: str) -> End:
        deadline = time.monotonic() + 180
        while True:
            with suppress(ComputeUnavailable):  # a busy scheduler; the driver asks again, too
                compute.look()
            try:
                found = ends.get(timeout=0.1)
            except queue.Empty:
                assert time.monotonic() < deadline, f"{attempt_id} has not ended"
                continue
            assert found.attempt_id == attempt_id
            return found

    deadline = time.monotonic() + 120
    while compute.missing({"BIG": 1.0}) is not None:
        compute.look()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert compute.n_free() == 2  # one for each worker
    compute.submit("lse_big", "job_big", "train", big)
    answer = end("lse_big").answer
    assert "failure" not in answer, answer
    log = store.read(answer["artifacts"]["log"]["sha256"]).decode()
    assert "training, epoch 1 of 1" in log

    # This scheduler runs a dead worker's task again by itself; the attempt is lost all the same.
    long = {**TRAIN, "recipe": {"epochs": 5000}, "resources": {"BIG": 1}}
    while not progress.empty():
        progress.get()
    compute.submit("lse_long", "job_long", "train", long)
    assert progress.get(timeout=120)[0] == "lse_long"
    (trainer,) = [
        one
        for one in psutil.Process(able.pid).children(recursive=True)
        if "spawn_main" in " ".join(one.cmdline())
    ]
    environment_there = trainer.environ()
    assert environment_there["OMP_NUM_THREADS"] == "1"
    assert "MALLOC_TRIM_THRESHOLD_" not in environment_there
    trainer.kill()
    lost = end("lse_long")
    assert (lost.kind, "died" in lost.reason) == ("lost", True)
    compute.close()


def test_a_tls_cluster_without_its_certificates_is_refused_before_anything_starts() -> None:
    with pytest.raises(SpecRejected) as refused:
        Settings(compute="tls://127.0.0.1:8786")
    assert {one.path for one in refused.value.problems} == {
        "compute_ca",
        "compute_cert",
        "compute_key",
    }


@pytest.mark.parametrize("text", ["GPU", "GPU=", "=1", "GPU=-1", "GPU=nan", "GPU=inf", "GPU=many"])
def test_resources_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(SpecRejected, match="GPU=1 GPU_MEMORY=24e9"):
        Settings(compute_resources=text)


def test_resources_are_read_as_dask_has_them() -> None:
    assert read_resources("GPU=1, GPU_MEMORY=24e9") == {"GPU": 1.0, "GPU_MEMORY": 24e9}
    assert read_resources("") == {}
