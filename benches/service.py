"""The server with 10,000 trials: pages, summaries, polls; a trial's overhead; a restart.

Depends on: httpx, psutil, the service; tests/shared for a real Postgres. Every figure is taken over
real HTTP from a server in a process of its own; the rows of the large study are written directly.

``STILLHOUSE_BENCH_QUICK=1`` takes a tenth of the trials, to see that it runs.
"""

from __future__ import annotations

import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]  # ships no types
import uvicorn
from record import Cell, record
from sqlalchemy import insert, text

from stillhouse_optimizer.propose import propose
from stillhouse_service import attempts, lives, outcomes
from stillhouse_service.app import build_app
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.built_network import built_network
from stillhouse_service.checks import check_study
from stillhouse_service.database import open_engine, prepare
from stillhouse_service.ids import utc_now
from stillhouse_service.incumbents import observed, problem_of
from stillhouse_service.schemas import BaselineIn, Budget, OptimizerIn, StudySpec
from stillhouse_service.settings import Settings
from stillhouse_service.states import StudyState, TrialState
from stillhouse_service.store import Store
from stillhouse_service.tables import TrialRow

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
from postgres_server import Postgres

QUICK = bool(os.environ.get("STILLHOUSE_BENCH_QUICK"))
N_TRIALS = 1000 if QUICK else 10_000
N_STUDIES = 10 if QUICK else 100
N_READS = 50 if QUICK else 300
N_OVERHEAD = 10 if QUICK else 60
TEMPLATE = """\
version: 1
pruners:
  filters:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.8}
    weights: [layer1.0.conv1.weight]
policies:
  - pruner: {instance_name: filters}
    starting_epoch: 0
    ending_epoch: 3
    frequency: 1
"""
_SERVE = (
    "import os; from stillhouse_service.server import serve; "
    "from stillhouse_service.settings import Settings; print('imported', flush=True); "
    "serve(Settings.from_environment(os.environ))"
)


def main() -> None:
    """All figures on both databases; writes ``results/service.json``."""
    reads, overheads, starts = [], [], []
    with tempfile.TemporaryDirectory() as name:
        for database, url in _databases(Path(name)):
            folder = Path(name) / database
            store = _Filled(url, folder)
            big = store.big
            with _server(url, folder) as (_, _, times_s):
                starts.append((database, *times_s))
            with _server(url, folder) as (http, process, times_s):
                starts.append((database, *times_s))
                reads += [[database, *row] for row in _reads(http, process, big)]
            with _own_server(url, folder) as (http, own):
                store.store = own  # so that what compute commits is heard at once, as from a driver
                overheads += [[database, *row] for row in _overheads(http, store)]
            store.engine.dispose()
    restart: list[list[Cell]] = [
        [
            name,
            N_STUDIES,
            N_TRIALS,
            statistics.median(ready for d, ready, _ in starts if d == name),
            statistics.median(served for d, _, served in starts if d == name),
            5,
        ]
        for name in dict.fromkeys(start[0] for start in starts)
    ]
    record(
        "service",
        {
            "reads": (
                (
                    "database",
                    "what",
                    "n",
                    "server's CPU, ms",
                    "p50, ms",
                    "p95, ms",
                    "wanted below, ms",
                ),
                reads,
            ),
            "overhead": (
                ("database", "what", "n", "p50, ms", "p95, ms", "wanted below, ms"),
                overheads,
            ),
            "restart": (
                (
                    "database",
                    "studies",
                    "trials in one of them",
                    "ready, s",
                    "of that, after the imports, s",
                    "wanted below, s",
                ),
                restart,
            ),
        },
        {"n_trials": N_TRIALS, "is_quick": QUICK, "starts": starts},
    )


def _databases(folder: Path) -> Iterator[tuple[str, str]]:
    """SQLite as it is served; Postgres that syncs every commit, as it is installed."""
    (folder / "SQLite").mkdir()
    yield "SQLite", f"sqlite:///{folder}/SQLite/bench.db"
    (folder / "Postgres").mkdir()
    postgres = Postgres(options=())
    postgres.run("CREATE DATABASE bench")
    try:
        yield "Postgres", postgres.url("bench")
    finally:
        postgres.stop()


class _Filled:
    """A database with a large paused study, many small ones, and one to run."""

    def __init__(self, url: str, folder: Path) -> None:
        self.engine = open_engine(url)
        prepare(self.engine)
        self.store = Store(self.engine)
        self.artifacts = ArtifactStore(folder / "artifacts")
        self._search: dict[str, Any] | None = None  # all studies have the same space
        with self.store.begin() as work:
            wanted = BaselineIn(model="resnet20_cifar", dataset="digits")
            self.baseline = lives.create_baseline(work, wanted).id
        self.compute()
        self.big = self._study("large")
        with self.store.begin() as work:
            work.move(work.studies.named(self.big), StudyState.RUNNING, "bench")
            work.move(work.studies.named(self.big), StudyState.PAUSED, "bench")
        for i in range(N_STUDIES - 1):
            small = self._study(f"small {i}")
            with self.store.begin() as work:
                lives.cancel_study(work, small)
        chance = random.Random(0)
        with self.engine.begin() as connection:
            for n in range(0, N_TRIALS, 1000):
                rows = [_trial(self.big, i, chance) for i in range(n, n + 1000)]
                connection.execute(insert(TrialRow), rows)
        if self.engine.dialect.name == "postgresql":
            # As its autovacuum would have: ten thousand trials come over weeks, not in one second.
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as alone:
                alone.execute(text("VACUUM (ANALYZE)"))

    def _study(self, name: str, n_trials: int = N_TRIALS) -> str:
        spec = StudySpec(
            name=name,
            baseline=self.baseline,
            device="CPU",
            template=TEMPLATE,
            training="epochs: 4\nlr: !float {low: 0.001, high: 0.1, log: true}\n",
            constraints=["top1_drop <= 0.02"],
            budget=Budget(trials=n_trials),
            optimizer=OptimizerIn(n_initial=max(2, n_trials)),
        )
        if self._search is None:
            with self.store.read() as view:
                baseline = view.baselines.named(self.baseline)
            self._search = check_study(spec, baseline, set(), False)
        with self.store.begin() as work:
            study = lives.begin_study(work, spec, self._search)
            for stage in work.stages.open_of_study(study.id):
                if name != "run":
                    attempts.cancel(work, stage, "bench", "nobody measures")
            return study.id

    def run(self, n_trials: int) -> str:
        """A study that really runs; its proposals are of the initial design."""
        return self._study("run", n_trials)

    def is_waiting(self) -> bool:
        """Tell whether anything waits for compute."""
        with self.store.read() as view:
            return bool(view.stages.waiting("compute", view.now, 1))

    def compute(self) -> None:
        """Do what waits for compute, with made-up files."""
        names = ("weights", "onnx", "probe_inputs", "probe_outputs", "schedule")
        with self.store.begin() as work:
            for stage in work.stages.waiting("compute", work.now, 10):
                attempt = attempts.start(work, stage, "bench", None)
                attempts.succeed(work, attempt)
                file = vars(self.artifacts.put(stage.id.encode()))
                files = dict.fromkeys((*names, "data_validation", "data_test"), file)
                metrics = {"validation_top1": 0.98, "params": 1, "macs": 1, "onnx_bytes": 1}
                made = {"artifacts": files, "metrics": metrics, "details": {}}
                take = outcomes.trained if stage.kind == "train" else outcomes.compressed
                take(work, stage, made)


def _trial(study: str, number: int, chance: random.Random) -> dict[str, Any]:
    """A row as a real trial of twenty parameters leaves it."""
    ratio = chance.uniform(0.4, 1.0)
    config = {f"pruners.stage{i}.final_sparsity": chance.random() for i in range(20)}
    metrics = {f"metric_{i}": chance.random() for i in range(15)}
    metrics |= {"latency_ratio": ratio, "top1": 0.97, "top1_drop": 0.01, "latency_p50_ms": ratio}
    now = utc_now()
    return {
        "id": f"trl_{number:016x}",
        "study_id": study,
        "number": number,
        "state": TrialState.COMPLETE,
        "config": config,
        "origin": "model",
        "prediction": {f"p_{i}": chance.random() for i in range(6)},
        "seed": number,
        "metrics": metrics,
        "is_feasible": ratio > 0.5,
        "violations": {},
        "failure": None,
        "progress": {},
        "artifacts": {name: f"{number:064x}" for name in ("schedule", "onnx", "weights")},
        "details": {"schedule": {"text": "x" * 2000}},
        "created_at": now,
        "started_at": now,
        "finished_at": now,
    }


@contextmanager
def _server(
    url: str, folder: Path
) -> Iterator[tuple[httpx.Client, psutil.Process, tuple[float, float]]]:
    """A server process; gives a client, the process, and seconds until it answered.

    The first is from the process's start, the second from the end of its imports (torch's above
    all), which depends on neither studies nor database.
    """
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    environment = {
        **os.environ,
        "STILLHOUSE_DATABASE_URL": url,
        "STILLHOUSE_ARTIFACT_DIR": str(folder / "artifacts"),
        "STILLHOUSE_COMPUTE": "none",
        "STILLHOUSE_PORT": str(port),
    }
    begun_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE], env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    imported_s = time.perf_counter()
    http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
    while True:
        try:
            http.get("/v1/studies?page_size=1").raise_for_status()
            break
        except httpx.TransportError:
            if process.poll() is not None:
                raise SystemExit("the server has ended") from None
            time.sleep(0.02)
    now_s = time.perf_counter()
    try:
        yield http, psutil.Process(process.pid), (now_s - begun_s, now_s - imported_s)
    finally:
        http.close()
        process.stdout.close()
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def _own_server(url: str, folder: Path) -> Iterator[tuple[httpx.Client, Store]]:
    """A server in a thread of this process, and its store."""
    settings = Settings(database_url=url, artifact_dir=folder / "artifacts", compute="none")
    app = build_app(settings)
    sys.setswitchinterval(0.001)  # as `server.serve` does
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.02)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60
        ) as http:
            yield http, app.state.store
        server.should_exit = True
        thread.join(timeout=30)


def _reads(http: httpx.Client, process: psutil.Process, study: str) -> list[list[Any]]:
    path = f"/v1/studies/{study}"
    pages = _tokens(http, path)
    known = {"If-None-Match": http.get(path).headers["etag"]}
    chance = random.Random(1)

    def page() -> None:
        token = chance.choice(pages)
        query = {"page_size": 100} | ({"page_token": token} if token else {})
        answer = http.get(f"{path}/trials", params=query)
        assert len(answer.json()["items"]) == 100

    def summary() -> None:
        assert http.get(path).status_code == 200

    def poll() -> None:
        assert http.get(path, headers=known).status_code == 304

    before = process.memory_info().rss

    def timed(act: Callable[[], None]) -> list[Any]:
        """Also what of it the server computed, which others on the machine make no longer."""
        for _ in range(10):
            act()
        begun_s = sum(process.cpu_times()[:2])
        n, p50, p95 = _summary([_timed(act) for _ in range(N_READS)])
        return [n, (sum(process.cpu_times()[:2]) - begun_s) / n * 1e3, p50, p95]

    rows = [
        ["trials page, 100 rows", *timed(page), 50],
        ["study summary", *timed(summary), 30],
        ["status poll, 304", *timed(poll), 10],
    ]
    for _ in range(3):
        _tokens(http, path)
    grown = (process.memory_info().rss - before) / 1e6
    rows.append([f"memory grown by reading: {grown:.1f} MB", 4 * N_TRIALS, None, None, None, None])
    return rows


def _tokens(http: httpx.Client, path: str) -> list[str | None]:
    """Walk through all pages; give where each begins."""
    tokens: list[str | None] = [None]
    while True:
        query = {"page_size": 100} | ({"page_token": tokens[-1]} if tokens[-1] else {})
        answer = http.get(f"{path}/trials", params=query).raise_for_status().json()
        if answer["next_page_token"] is None:
            return tokens
        tokens.append(answer["next_page_token"])


def _timed(act: Callable[[], Any]) -> float:
    begun_s = time.perf_counter()
    act()
    return (time.perf_counter() - begun_s) * 1e3


def _summary(times_ms: Sequence[float]) -> list[Any]:
    ranked = sorted(times_ms)
    return [len(ranked), statistics.median(ranked), ranked[int(0.95 * (len(ranked) - 1))]]


def _overheads(http: httpx.Client, filled: _Filled) -> list[list[Any]]:
    """What the service adds to a trial, beside compression and timing."""
    http.headers["Stillhouse-Protocol"] = "1"
    device = {
        "name": "CPU",
        "kind": "CPU",
        "full_name": "A device",
        "runtime": "openvino",
        "runtime_version": "2026.0.0",
        "precisions": ["f32"],
        "max_opset": 21,
        "host": "edge",
        "capabilities": ["benchmark"],
    }
    body: dict[str, Any] = {"name": "edge", "version": "1", "devices": [device]}
    known = http.post("/v1/workers", json=body).raise_for_status().json()
    ids = {"worker_id": known["id"], "device_id": known["devices"][0]["id"]}
    study = filled.run(N_OVERHEAD + 1)
    told, proposed, offered = [], [], []
    news = threading.Event()
    filled.store.on_commit(lambda _: news.set())  # looking all the time would slow the driver down
    lease = http.post("/v1/leases", json={**ids, "wait_s": 30}).json()
    for _ in range(N_OVERHEAD):
        report = {"token": lease["token"], "result": _result()}
        path = f"/v1/leases/{lease['id']}/result"
        told.append(_timed(partial(_told, http, path, report)))
        begun_s = time.perf_counter()
        with ThreadedLease(http, ids) as waiting:  # the host asks again at once, as hosts do
            while not filled.is_waiting():
                news.wait(1.0)
                news.clear()
            proposed.append((time.perf_counter() - begun_s) * 1e3)
            filled.compute()
            computed_s = time.perf_counter()
            lease = waiting.result()
            offered.append((waiting.heard_s - computed_s) * 1e3)
    asked = _proposals(filled.store, study, N_OVERHEAD)
    asked_ms = statistics.median(asked)
    whole = [sum(parts) - asked_ms for parts in zip(told, proposed, offered, strict=True)]
    return [
        ["report -> told", *_summary(told), None],
        ["told -> next trial's first stage", *_summary(proposed), None],
        ["of that, the optimizer's proposal", *_summary(asked), None],
        ["compressed -> job in the host's hand", *_summary(offered), None],
        ["all but the proposal", *_summary(whole), 100],
    ]


def _proposals(store: Store, study_id: str, n: int) -> list[float]:
    """How long the optimizer took for each of the study's trials: asked again, by itself."""
    with store.read() as view:
        study = view.studies.named(study_id)
        baseline = view.baselines.of(study)
        history = [observed(trial) for trial in view.trials.told_of(study_id)]
    texts = study.spec["template"], study.spec["training"]
    features = built_network(*texts, baseline.model, baseline.dataset)

    def again(k: int) -> object:
        return propose(problem_of(study), history[:k], [], seed=0, cheap_features=features)

    return [_timed(partial(again, k)) for k in range(1, n + 1)]


class ThreadedLease:
    """A long poll for a job in a thread."""

    def __init__(self, http: httpx.Client, ids: Mapping[str, str]) -> None:
        self._http, self._ids = http, ids
        self._answer: dict[str, Any] = {}
        self.heard_s = 0.0
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        for _ in range(4):  # a machine that is busy with other things
            answer = self._http.post("/v1/leases", json={**self._ids, "wait_s": 30})
            self.heard_s = time.perf_counter()
            if answer.status_code != 204:
                break
        self._answer = answer.raise_for_status().json()

    def result(self) -> dict[str, Any]:
        """Wait for the lease."""
        self._thread.join(timeout=130)
        return self._answer

    def __enter__(self) -> ThreadedLease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(timeout=130)


def _told(http: httpx.Client, path: str, report: Mapping[str, Any]) -> None:
    http.post(path, json=report).raise_for_status()


def _result() -> dict[str, Any]:
    names = ("p25_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "cpu_p50_ms")
    timing = dict.fromkeys(names, 2.0) | {"sd_ms": 0.1, "n_runs": 200, "throughput_per_s": 500.0}
    counts = {"n_images": 300, "top1_correct": 294, "top5_correct": 300}
    agreement = {"max_abs": 1e-5, "max_rel": 1e-4, "top1_agreement": 1.0}
    return {
        "candidate": timing,
        "baseline": timing,
        "latency_ratio": 1.0,
        "latency_ratio_low": 0.99,
        "latency_ratio_high": 1.01,
        "is_distinguishable": False,
        "aa_ratio": 1.0,
        "is_gate_passed": True,
        "n_attempts": 1,
        "accuracy": {
            "candidate": counts,
            "baseline": counts,
            "n_disagree_candidate_only": 0,
            "n_disagree_baseline_only": 0,
        },
        "agreement": {"candidate": agreement, "baseline": agreement},
        "layers": [
            {"layer": f"layer{i}", "type": "Convolution", "candidate_ms": 0.1, "baseline_ms": 0.2}
            for i in range(20)
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


if __name__ == "__main__":
    main()
