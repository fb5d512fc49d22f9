"""A real server on a real database, and two scripted parties: compute and a device host."""

import hashlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from postgres_server import Postgres

from stillhouse_service import attempts, outcomes, probes
from stillhouse_service.app import build_app
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.cli import main
from stillhouse_service.database import open_engine, prepare
from stillhouse_service.ids import utc_now
from stillhouse_service.settings import Settings
from stillhouse_service.store import Store

TEMPLATE = """\
version: 1
pruners:
  filters:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.8, default: 0.3}
    weights: [layer1.0.conv1.weight]
policies:
  - pruner: {instance_name: filters}
    starting_epoch: 0
    ending_epoch: 3
    frequency: 1
"""
TRAINING = "epochs: 4\nlr: !float {low: 0.001, high: 0.1, log: true, default: 0.01}\n"

Run = Callable[..., tuple[int, str, str]]
_NO_TLS = False  # plain HTTP: reading the certificates would cost every client 50 ms


class Scripted:
    """What a test does with a server and, playing compute, with its database."""

    store: Store
    artifacts: ArtifactStore
    http: httpx.Client
    url: str

    def compute_all(self) -> int:
        """Play the compute cluster: do every stage that waits; the files are made up."""
        n_done = 0
        while True:
            with self.store.read() as view:
                waiting = [row.id for row in view.stages.waiting("compute", view.now, 100)]
            if not waiting:
                return n_done
            for stage_id in waiting:
                with self.store.begin() as work:
                    stage = work.stages.stage(stage_id)
                    attempt = attempts.start(work, stage, "scripted compute", None)
                    attempts.succeed(work, attempt)
                    if stage.kind == "train":
                        outcomes.trained(work, stage, self._trained(stage.order))
                    elif stage.kind == "sketch":
                        probes.made(work, stage, self._sketched(stage.order))
                    else:
                        outcomes.compressed(work, stage, self._compressed(stage.order))
                n_done += 1

    def _trained(self, order: dict[str, Any]) -> dict[str, Any]:
        names = ("weights", "onnx", "probe_inputs", "probe_outputs", "data_validation", "data_test")
        return {
            "artifacts": {name: self._file(f"{name} {order['seed']}") for name in names},
            "metrics": {
                "validation_top1": 0.98,
                "test_top1": 0.97,
                "params": 270_000,
                "macs": 40_000_000,
                "onnx_bytes": 1_100_000,
            },
            "details": {},
        }

    def _compressed(self, order: dict[str, Any]) -> dict[str, Any]:
        names = ("schedule", "onnx", "weights", "probe_outputs")
        text = json.dumps(order)
        return {
            "artifacts": {name: self._file(f"{name} {text}") for name in names},
            "metrics": {"params": 100_000, "macs": 20_000_000, "model_bytes": 400_000},
            "details": {
                "schedule": order["schedule"],
                "training": order["training"],
                "thinning": [{"text": "cut conv1: 16 -> 8 filters\nMACs 40 -> 20"}],
            },
        }

    def _sketched(self, order: dict[str, Any]) -> dict[str, Any]:
        pruners = json.dumps(order["schedule"]["pruners"])
        text = json.dumps(order)
        return {
            "artifacts": {
                "untrained": self._file(f"untrained {text}"),
                "untrained_outputs": self._file(f"untrained_outputs {text}"),
            },
            "metrics": {"params": 100_000, "macs": 20_000_000, "model_bytes": 400_000},
            "details": {"is_decided": True},
            "built": sha256(pruners.encode()),
        }

    def _file(self, text: str) -> dict[str, Any]:
        stored = self.artifacts.put(text.encode())
        return {"sha256": stored.sha256, "n_bytes": stored.n_bytes, "media_type": "text/plain"}

    def baseline(self, seed: int = 0) -> str:
        """A complete baseline."""
        wanted = {"model": "resnet20_cifar", "dataset": "digits", "seed": seed}
        made = self.http.post("/v1/baselines", json=wanted)
        assert made.status_code == 201, made.text
        self.compute_all()
        return str(made.json()["id"])

    def spec(self, **changes: Any) -> dict[str, Any]:
        """A study that can work, with a new baseline unless one is named."""
        spec = {
            "name": "digits",
            "device": "CPU",
            "template": TEMPLATE,
            "training": TRAINING,
            "objectives": ["latency_ratio"],
            "constraints": ["top1_drop <= 0.02"],
            "budget": {"trials": 3},
        }
        spec |= changes
        return spec if "baseline" in spec else spec | {"baseline": self.baseline()}

    def study(self, **changes: Any) -> str:
        """A study whose baseline waits to be checked on its device."""
        made = self.http.post("/v1/studies", json=self.spec(**changes))
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def get(self, path: str) -> Any:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


class Server(Scripted):
    """A server in a thread of this process, on a free port."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = utc_now) -> None:
        self.settings = settings
        self.app = build_app(settings, clock)
        self.store = self.app.state.store
        self.artifacts = self.app.state.artifacts
        # Told to be TCP: else asyncio leaves Nagle on, and every answer takes 40 ms more.
        self._listener = socket.socket(proto=socket.IPPROTO_TCP)
        self._listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(self.app, log_level="warning", timeout_graceful_shutdown=2)
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._uvicorn.run, kwargs={"sockets": [self._listener]}, daemon=True
        )
        self._thread.start()
        wait_until(lambda: self._uvicorn.started, "the server to start")
        self.http = httpx.Client(base_url=self.url, timeout=30, verify=_NO_TLS)

    def stop(self) -> None:
        self.http.close()
        self._uvicorn.should_exit = True
        self._thread.join(timeout=20)
        self._listener.close()


# Imports everything once and forks a server for each line it reads: a start costs no import.
_FORKER = """
import json, os, pathlib, signal, sys, uvicorn
import stillhouse_optimizer.propose, stillhouse_service.built_network
import stillhouse_compression.models
from stillhouse_service.app import build_app
from stillhouse_service.settings import Settings
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    told = json.loads(line)
    told["artifact_dir"] = pathlib.Path(told["artifact_dir"])
    port = told.pop("port")
    pid = os.fork()
    if pid == 0:
        app = build_app(Settings(**told))
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")
        os._exit(0)
    print(pid, flush=True)
"""


class KillableServer(Scripted):
    """A server in a process of its own, on one port: killed with SIGKILL and started again."""

    def __init__(self, settings: Settings) -> None:
        app = build_app(settings)  # not served: for its database alone
        self.store, self.artifacts = app.state.store, app.state.artifacts
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}"
        self.http = httpx.Client(base_url=self.url, timeout=30, verify=_NO_TLS)
        self._settings = {**asdict(settings), "artifact_dir": str(settings.artifact_dir)}
        self._forker = subprocess.Popen(
            [sys.executable, "-c", _FORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pid = 0
        self.start()

    def start(self) -> None:
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        print(
            json.dumps(self._settings | {"port": self._port}), file=self._forker.stdin, flush=True
        )
        self._pid = int(self._forker.stdout.readline())
        wait_until(self._is_up, "the server to start", timeout_s=60)

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def stop(self) -> None:
        self.kill()
        self.http.close()
        self._forker.communicate()

    def _is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", verify=_NO_TLS).status_code == 200
        except httpx.TransportError:
            return False


class Host:
    """A device host that says what it is told to say, over real HTTP."""

    def __init__(self, server: Scripted, name: str = "edge-1", kind: str = "CPU") -> None:
        self.http = httpx.Client(
            base_url=server.url,
            headers={"Stillhouse-Protocol": "1"},
            timeout=30,
            verify=_NO_TLS,
        )
        self.name = name
        self.spread = 0.01  # of the intervals of the ratios it tells
        self.device = {
            "name": kind,
            "kind": kind,
            "full_name": "A device",
            "runtime": "openvino",
            "runtime_version": "2026.0.0",
            "precisions": ["f32"],
            "max_opset": 21,
            "host": name,
            "capabilities": ["benchmark"],
        }
        self.register()

    def register(self) -> dict[str, Any]:
        body = {"name": self.name, "version": "0.1.0", "devices": [self.device]}
        answer = self.http.post("/v1/workers", json=body)
        assert answer.status_code == 201, answer.text
        known: dict[str, Any] = answer.json()
        self.worker_id, self.device_id = known["id"], known["devices"][0]["id"]
        return known

    def ask(self, wait_s: float = 0.0) -> httpx.Response:
        ids = {"worker_id": self.worker_id, "device_id": self.device_id}
        return self.http.post("/v1/leases", json={**ids, "wait_s": wait_s})

    def lease(self, wait_s: float = 10.0) -> dict[str, Any]:
        answer = self.ask(wait_s)
        assert answer.status_code == 200, answer.text
        lease: dict[str, Any] = answer.json()
        return lease

    def tell(self, lease: dict[str, Any], verb: str, **body: Any) -> httpx.Response:
        return self.http.post(
            f"/v1/leases/{lease['id']}/{verb}", json={"token": lease["token"], **body}
        )

    def fail(self, lease: dict[str, Any], failure_class: str, **more: Any) -> httpx.Response:
        failure = {"class": failure_class, "stage": "compile", "reason": "it was so", **more}
        return self.tell(lease, "failure", failure=failure)

    def measure(
        self,
        lease: dict[str, Any],
        ratio: float = 1.0,
        n_correct: int = 294,
        n_baseline: int = 294,
        is_judged: bool = True,
    ) -> httpx.Response:
        result = self.measured(ratio, n_correct, n_baseline)
        if not is_judged:
            result["accuracy"] = None
        return self.tell(lease, "result", result=result)

    def measured(
        self, ratio: float = 1.0, n_correct: int = 294, n_baseline: int = 294
    ) -> dict[str, Any]:
        """What it would report."""
        return made_up_result(ratio, n_correct, n_baseline, self.spread)

    def play(self, server: Server, study_id: str, ratios: list[float]) -> None:
        """Play compute and device until the study is over.

        Args:
            server: Where it runs.
            study_id: The study.
            ratios: Of the trials, in order; a trial measured again gives the same.
        """
        left, told = iter(ratios), {}
        while server.get(f"/v1/studies/{study_id}")["state"] in ("checking", "running"):
            server.compute_all()
            answer = self.ask(wait_s=0.2)
            if answer.status_code != 200:
                continue
            lease = answer.json()
            candidate, baseline = lease["job"]["candidate"], lease["job"]["baseline"]
            key = candidate["sha256"]
            if key not in told:
                told[key] = 1.0 if candidate == baseline else next(left)
            self.measure(lease, told[key])


def made_up_result(
    ratio: float = 1.0, n_correct: int = 294, n_baseline: int = 294, spread: float = 0.01
) -> dict[str, Any]:
    """A result of 300 images; the baseline takes 2 ms, intervals reach as far as `spread`."""

    def timing(p50_ms: float) -> dict[str, float]:
        names = ("p25_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "cpu_p50_ms")
        return {name: p50_ms for name in names} | {
            "sd_ms": 0.1,
            "n_runs": 200,
            "throughput_per_s": 1000 / p50_ms,
        }

    def counts(n: int) -> dict[str, int]:
        return {"n_images": 300, "top1_correct": n, "top5_correct": 300}

    agreement = {"max_abs": 1e-5, "max_rel": 1e-4, "top1_agreement": 1.0}
    return {
        "candidate": timing(2.0 * ratio),
        "baseline": timing(2.0),
        "latency_ratio": ratio,
        "latency_ratio_low": ratio * (1.0 - spread),
        "latency_ratio_high": ratio * (1.0 + spread),
        "is_distinguishable": ratio != 1.0,
        "aa_ratio": 1.0,
        "is_gate_passed": True,
        "n_attempts": 1,
        "accuracy": {
            "candidate": counts(n_correct),
            "baseline": counts(n_baseline),
            "n_disagree_candidate_only": 0,
            "n_disagree_baseline_only": n_baseline - n_correct if n_correct < n_baseline else 0,
        },
        "agreement": {"candidate": agreement, "baseline": agreement},
        "layers": [
            {"layer": "conv1", "type": "Convolution", "candidate_ms": 0.1, "baseline_ms": 0.2}
        ],
        "host": {
            "cpu_model": "A processor",
            "n_cpus": 2,
            "load_1m": 0.1,
            "runtime": "openvino",
            "runtime_version": "2026.0.0",
            "temperature_c": None,
        },
        "duration_s": 1.0,
    }


def wait_until(is_so: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(0.02)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


_names = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One real Postgres for all tests, with a database `blank` that is ours already."""
    server = Postgres()
    server.run("CREATE DATABASE blank")
    engine = open_engine(server.url("blank"))
    prepare(engine)
    engine.dispose()
    yield server
    server.stop()


def _settings(folder: Path, **changes: Any) -> Settings:
    chosen: dict[str, Any] = {
        "database_url": f"sqlite:///{folder}/stillhouse.db",
        "artifact_dir": folder / "artifacts",
        "compute": "none",
        "n_threads": 1,
        "retry_delay_s": 0.0,
        "lock_dir": str(folder / "lock"),
    }
    return Settings(**(chosen | changes))


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database: SQLite, unless a test asks for `postgres` as well."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path}/stillhouse.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"test{next(_names)}"
    is_ours = "serve" in request.fixturenames  # spares every server its migration
    server.run(f"CREATE DATABASE {name}" + (" TEMPLATE blank" if is_ours else ""))
    yield server.url(name)
    server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def serve(tmp_path: Path, database: str) -> Iterator[Callable[..., Server]]:
    """Start a server; called again, another one on the same database and artifacts."""
    with ExitStack() as stack:

        def start(clock: Callable[[], datetime] = utc_now, **changes: Any) -> Server:
            settings = _settings(tmp_path, **({"database_url": database} | changes))
            server = Server(settings, clock)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def killable(tmp_path: Path) -> Iterator[KillableServer]:
    """A server that can be killed."""
    server = KillableServer(_settings(tmp_path))
    yield server
    server.stop()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()


@pytest.fixture
def connect() -> Iterator[Callable[..., Host]]:
    """Start a scripted device host."""
    hosts: list[Host] = []

    def start(server: Server, name: str = "edge-1", kind: str = "CPU") -> Host:
        hosts.append(Host(server, name, kind))
        return hosts[-1]

    yield start
    for one in hosts:
        one.http.close()


@pytest.fixture(scope="session")
def result() -> Callable[..., dict[str, Any]]:
    """Make up a device's report."""
    return made_up_result


@pytest.fixture(scope="session")
def template() -> str:
    """A template of one parameter for resnet20_cifar."""
    return TEMPLATE


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command as a shell would; give exit status, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["stillhouse", *arguments])
        status: Any = 0
        try:
            main()
        except SystemExit as ending:
            status = ending.code or 0
        said = capsys.readouterr()
        return int(status), said.out, said.err

    return call


@pytest.fixture
def at(run: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command against the server."""
    monkeypatch.setenv("STILLHOUSE_SERVER", server.url)
    return run
