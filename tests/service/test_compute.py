"""Compute for real: an embedded Dask cluster that trains and compresses."""

import io
import json
import multiprocessing
import os
import queue
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import distributed
import httpx
import numpy as np
import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from stillhouse_benchmark.protocol import DataManifest
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.compute import Compute, End
from stillhouse_service.errors import ComputeUnavailable
from stillhouse_service.settings import Settings

RECIPE = {"epochs": 1, "effective_train_size": 0.2}
TRAIN = {"model": "simplenet_cifar", "dataset": "digits", "recipe": RECIPE, "seed": 0}
LONG = {**TRAIN, "model": "resnet20_cifar", "recipe": {"epochs": 500}}


class Cluster:
    """An embedded cluster and what it has reported."""

    def __init__(self, folder: Path) -> None:
        self.store = ArtifactStore(folder / "artifacts")
        self.ends: queue.Queue[End] = queue.Queue()
        self.progress: queue.Queue[Any] = queue.Queue()
        settings = Settings(
            n_threads=1,
            lock_dir=str(folder / "lock"),
            progress_s=0.0,
            compute_resources="GPU_MEMORY=8e9",
        )
        self.compute = Compute(
            settings, self.store, self.ends.put, lambda *told: self.progress.put(told)
        )

    def end(self, timeout_s: float = 120.0) -> End:
        """The next end; meanwhile looked after as the driver does."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.compute.look()
            try:
                return self.ends.get(timeout=0.2)
            except queue.Empty:
                assert time.monotonic() < deadline, "nothing has ended"

    def begun(self, attempt_id: str) -> None:
        """Wait for a task's first progress; a worker's first task also imports torch."""
        while self.progress.get(timeout=120)[0] != attempt_id:
            pass  # of earlier tests

    def worker(self) -> psutil.Process:
        """The process that trains: the one of this process's descendants that uses torch."""
        children = psutil.Process().children(recursive=True)
        return max(children, key=lambda child: child.memory_info().rss)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    one = Cluster(tmp_path_factory.mktemp("compute"))
    yield one
    one.compute.close()


def test_a_baseline_is_trained_and_laid_out_for_devices(cluster: Cluster) -> None:
    cluster.compute.submit("lse_train", "job_train", "train", TRAIN)
    assert cluster.compute.n_free() == 0
    end = cluster.ends.get(timeout=120)
    assert (end.attempt_id, end.kind) == ("lse_train", "returned")
    assert cluster.progress.get(timeout=5)[0] == "lse_train"
    artifacts = end.answer["artifacts"]
    manifest = DataManifest.from_json(
        json.loads(cluster.store.read(artifacts["data_test"]["sha256"]))
    )
    assert (manifest.n_images, manifest.shape, manifest.n_classes) == (497, (3, 32, 32), 10)
    images = np.load(io.BytesIO(cluster.store.read(manifest.shards[0].sha256)))
    assert (images.dtype, images.shape) == (np.uint8, (497, 3, 32, 32))
    labels = np.load(io.BytesIO(cluster.store.read(manifest.labels.sha256)))
    assert sorted(set(labels.tolist())) == list(range(10))
    assert 0.0 <= end.answer["metrics"]["validation_top1"] <= 1.0

    order = {
        "model": "simplenet_cifar",
        "dataset": "digits",
        "weights": artifacts["weights"]["sha256"],
        "schedule": {
            "version": 1,
            "pruners": {
                "filters": {
                    "class": "L1RankedStructureParameterPruner_AGP",
                    "group_type": "Filters",
                    "initial_sparsity": 0.05,
                    "final_sparsity": 0.5,
                    "weights": ["conv2.weight"],
                }
            },
            "policies": [
                {
                    "pruner": {"instance_name": "filters"},
                    "starting_epoch": 0,
                    "ending_epoch": 2,
                    "frequency": 1,
                }
            ],
        },
        "training": {"epochs": 2, "recovery_epochs": 0, "effective_train_size": 0.2},
        "seed": 1,
    }
    cluster.compute.submit("lse_compress", "job_compress", "compress", order)
    end = cluster.ends.get(timeout=120)
    assert end.kind == "returned", end.reason
    assert "failure" not in end.answer, end.answer
    assert end.answer["metrics"]["params"] < 62_006
    onnx = cluster.store.read(end.answer["artifacts"]["onnx"]["sha256"])
    assert end.answer["metrics"]["model_bytes"] == len(onnx)

    # Untrained it is the same network to a device: two of its four filter groups, other weights.
    cluster.compute.submit("lse_sketch", "job_sketch", "sketch", order)
    sketch = cluster.ends.get(timeout=120).answer
    assert sketch["details"]["is_decided"]
    assert sketch["built"] == end.answer["built"]
    assert sketch["metrics"] == {
        name: end.answer["metrics"][name] for name in ("macs", "params", "model_bytes")
    }
    untrained = cluster.store.read(sketch["artifacts"]["untrained"]["sha256"])
    assert untrained != onnx

    # What a low rung leaves is gone on from: as if it had never been interrupted.
    steady = {**order["training"], "lr_schedule": "constant", "recovery_epochs": 1}
    low = {**order, "training": steady, "keeps_checkpoint": True}
    cluster.compute.submit("lse_low", "job_low", "compress", low)
    left = cluster.ends.get(timeout=120).answer
    further = {**order, "training": {**steady, "recovery_epochs": 2}}
    ends = {}
    for name, one in {
        "resumed": {**further, "checkpoint": left["artifacts"]["checkpoint"]["sha256"]},
        "whole": further,
    }.items():
        cluster.compute.submit(f"lse_{name}", f"job_{name}", "compress", one)
        ends[name] = cluster.ends.get(timeout=120).answer
    assert len(ends["resumed"]["details"]["history"]) == 4
    for name in ("weights", "onnx"):
        hashes = [ends[run]["artifacts"][name]["sha256"] for run in ("resumed", "whole")]
        assert hashes[0] == hashes[1]
    log = cluster.store.read(ends["resumed"]["artifacts"]["log"]["sha256"]).decode()
    assert "resuming, epoch 3" in log
    assert "checkpoint" not in ends["resumed"]["artifacts"]  # nobody goes on from the top

    # A limit that no network reaches: ended after the first of its two epochs.
    curves = [{"top1": [0.1, 0.11], "final": 0.11}] * 8
    rule = {"mode": "cautious", "top1": 1.1, "curves": curves}
    ended = {**order, "early_stop": rule}
    cluster.compute.submit("lse_ended", "job_ended", "compress", ended)
    stopped = cluster.ends.get(timeout=120).answer["stopped"]
    assert (len(stopped["history"]), stopped["n_epochs"]) == (1, 2)
    assert stopped["history"] == end.answer["details"]["history"][:1]
    assert stopped["saved_s"] > 0 and "1.1000 is wanted" in stopped["reason"]


def test_a_wrong_order_is_a_failure_with_its_reason(cluster: Cluster) -> None:
    cluster.compute.submit("lse_wrong", "job_wrong", "train", {**TRAIN, "model": "resnet21"})
    end = cluster.ends.get(timeout=60)
    assert end.kind == "returned"
    assert end.answer["failure"]["stage"] == "train"
    assert "resnet21" in end.answer["failure"]["reason"]


def test_a_cancelled_training_ends_within_seconds(cluster: Cluster) -> None:
    cluster.compute.submit("lse_cancel", "job_cancel", "train", LONG)
    cluster.begun("lse_cancel")
    begun = time.monotonic()
    cluster.compute.cancel("lse_cancel")
    end = cluster.ends.get(timeout=60)
    assert end.answer == {"is_cancelled": True}
    assert time.monotonic() - begun < 5.0
    cluster.compute.forget("lse_cancel")


def test_a_training_runs_with_the_threads_that_were_asked_for(cluster: Cluster) -> None:
    cluster.compute.open()
    environment = cluster.worker().environ()
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["GOMP_SPINCOUNT"] == "10000"
    assert "MALLOC_TRIM_THRESHOLD_" not in environment


def test_a_cluster_elsewhere_computes_when_it_sees_the_store(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.compute.open()
    settings = Settings(compute=str(cluster.compute.scheduler_address), n_threads=1)
    ends: queue.Queue[End] = queue.Queue()
    compute = Compute(settings, cluster.store, ends.put, lambda *told: None)
    compute.submit("lse_elsewhere", "job_elsewhere", "train", {**TRAIN, "model": "resnet21"})
    assert "resnet21" in ends.get(timeout=60).answer["failure"]["reason"]
    compute.close()


@pytest.mark.slow  # Dask's own patience with a worker is 15 s; the worker imports torch three times
def test_an_embedded_worker_comes_back_however_long_it_takes(tmp_path: Path) -> None:
    one = Cluster(tmp_path)
    wrong = {**TRAIN, "model": "resnet21"}
    try:
        one.compute.open()
        before = one.worker()
        before.kill()
        _until(lambda: _is_another(one, before))
        late = one.worker()
        late.suspend()  # a machine so busy that nothing gets on
        time.sleep(20.0)
        late.resume()
        one.compute.submit("lse_late", "job_late", "train", wrong)
        assert one.end().kind == "returned"

        address = str(one.compute.scheduler_address)
        client_class: Any = distributed.Client
        client = client_class(address, set_as_default=False)
        client.retire_workers()  # so that Dask's nanny has ended as well
        client.close()
        one.compute.submit("lse_lost", "job_lost", "train", wrong)
        assert (one.end().attempt_id, one.compute.running()) == ("lse_lost", [])
        one.compute.submit("lse_again", "job_again", "train", wrong)
        assert one.end().kind == "returned"
    finally:
        one.compute.close()


def _is_another(cluster: Cluster, worker: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, ValueError):
        found = cluster.worker()
        return found.pid != worker.pid and "spawn_main" in " ".join(found.cmdline())
    return False


def test_an_embedded_worker_that_hangs_while_it_starts_is_not_waited_for_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hangs.py").write_text("import time; time.sleep(600)")
    monkeypatch.setattr("stillhouse_service.cluster.PRELOAD", [str(tmp_path / "hangs.py")])
    monkeypatch.setattr("stillhouse_service.cluster._START_S", 5.0)
    one, before = Cluster(tmp_path), set(multiprocessing.active_children())
    try:
        with pytest.raises(ComputeUnavailable, match="none has answered for 5 s"):
            one.compute.open()
        _until(lambda: set(multiprocessing.active_children()) <= before, timeout_s=10)
    finally:
        one.compute.close()


class _LostAnswer:
    """A task of Dask's that has ended, on a worker that died before its answer was fetched."""

    status = "finished"

    def result(self, timeout: float) -> Any:
        raise TimeoutError(f"no answer for {timeout:g} s")


def test_an_answer_that_cannot_be_fetched_is_an_attempt_lost(tmp_path: Path) -> None:
    one = Cluster(tmp_path)
    one.compute.submit("lse_unfetched", "job_unfetched", "train", LONG)
    try:
        one.compute._ended("lse_unfetched", _LostAnswer())
        end = one.end()
        assert (end.attempt_id, end.kind) == ("lse_unfetched", "lost")
        assert "could not be fetched" in end.reason
        assert one.compute.running() == []
    finally:
        one.compute.close()


def test_a_scheduler_that_does_not_answer_is_named(tmp_path: Path) -> None:
    settings = Settings(compute="tcp://127.0.0.1:9")
    compute = Compute(settings, ArtifactStore(tmp_path), print, print)
    with pytest.raises(ComputeUnavailable, match=r"tcp://127\.0\.0\.1:9"):
        compute.open()
    compute.close()


_SERVE = (
    "import os; from stillhouse_service.server import serve; "
    "from stillhouse_service.settings import Settings; "
    "serve(Settings.from_environment(os.environ))"
)


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Callable[..., tuple[psutil.Process, httpx.Client]]]:
    """Start a server process; called again, on the same database and artifacts."""
    begun: list[subprocess.Popen[bytes]] = []
    clients: list[httpx.Client] = []

    def start(compute: str, port: int) -> tuple[psutil.Process, httpx.Client]:
        environment = {
            **os.environ,
            "STILLHOUSE_DATABASE_URL": f"sqlite:///{tmp_path}/stillhouse.db",
            "STILLHOUSE_ARTIFACT_DIR": str(tmp_path / "artifacts"),
            "STILLHOUSE_COMPUTE": compute,
            "STILLHOUSE_PORT": str(port),
            "STILLHOUSE_N_THREADS": "1",
            "STILLHOUSE_RETRY_DELAY_S": "0",
            "STILLHOUSE_LOCK_DIR": str(tmp_path / "lock"),
        }
        process = subprocess.Popen([sys.executable, "-c", _SERVE], env=environment)
        begun.append(process)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)
        clients.append(client)
        deadline = time.monotonic() + 60
        while True:
            try:
                assert client.get("/healthz").status_code == 200
                return psutil.Process(process.pid), client
            except httpx.TransportError:
                assert process.poll() is None, "the server has ended"
                assert time.monotonic() < deadline
                time.sleep(0.1)

    yield start
    for client in clients:
        client.close()
    for process in begun:
        process.kill()
        process.wait(timeout=10)


def _until(is_so: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _attempts(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "stillhouse.db")) as database:
        return [row[0] for row in database.execute("SELECT state FROM attempt ORDER BY number")]


@pytest.mark.slow  # two servers and three Dask workers start, each importing torch
def test_a_killed_server_leaves_no_process_and_its_training_is_taken_up_again(
    spawn: Any, free_port: int, tmp_path: Path
) -> None:
    server, client = spawn("embedded", free_port)
    wanted = {"model": "resnet20_cifar", "dataset": "digits", "recipe": {"epochs": 300}}
    assert client.post("/v1/baselines", json=wanted).status_code == 201
    _until(lambda: _attempts(tmp_path) == ["running"])
    descendants = server.children(recursive=True)
    assert descendants
    server.kill()
    server.wait(timeout=10)
    _, alive = psutil.wait_procs(descendants, timeout=15)
    assert not alive

    server, client = spawn("embedded", free_port)
    _until(lambda: _attempts(tmp_path) == ["released", "running"])
    time.sleep(2.0)
    max(server.children(recursive=True), key=lambda child: child.memory_info().rss).kill()
    _until(lambda: _attempts(tmp_path) == ["released", "lost", "running"])

    descendants = server.children(recursive=True)
    server.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs([server, *descendants], timeout=30)
    assert not alive


def test_a_killed_server_that_starts_again_knows_everything(spawn: Any, free_port: int) -> None:
    server, client = spawn("none", free_port)
    wanted = {"model": "resnet20_cifar", "dataset": "digits"}
    made = [client.post("/v1/baselines", json=wanted).json()["id"] for _ in range(3)]
    server.kill()
    server.wait(timeout=10)
    _, client = spawn("none", free_port)
    assert [row["id"] for row in client.get("/v1/baselines").json()["items"]] == made[::-1]


@pytest.fixture
def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
