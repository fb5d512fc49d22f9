"""Many at once: leases a second, a thousand that wait, a million trials, a server that is killed.

Depends on: httpx, psutil, the service and its simulation; tests/shared for a real Postgres and for
servers that are killed. Every server is a process of its own, spoken to over real HTTP.

``--part leases|waiting|large|takeover`` measures one part anew and keeps the others' figures;
``STILLHOUSE_BENCH_QUICK=1`` takes a tenth, to see that it runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]  # ships no types
from record import RESULTS, Cell, record
from sqlalchemy import Engine, text

from stillhouse_service import attempts, lives, outcomes
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.checks import check_study
from stillhouse_service.database import open_engine, prepare
from stillhouse_service.schemas import BaselineIn, Budget, StudySpec
from stillhouse_service.simulation.fleet import Fleet, simulated_hosts
from stillhouse_service.simulation.law import Law, truth
from stillhouse_service.states import StudyState
from stillhouse_service.steps import start_trial
from stillhouse_service.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))
from postgres_server import Postgres
from replicas import Replica, Replicas

QUICK = bool(os.environ.get("STILLHOUSE_BENCH_QUICK"))
N_HOSTS = 20 if QUICK else 200
N_WAITING = 100 if QUICK else 1000
N_STUDIES, N_TRIALS = (100, 100) if QUICK else (1000, 1000)
N_READS = 50 if QUICK else 300
N_KILLS = 1 if QUICK else 5
_SECONDS = 3.0 if QUICK else 8.0
_JOBS = 200 if QUICK else 800  # before each measurement
_JOBS_A_STUDY = 50
N_BURSTS = 3 if QUICK else 5
_LEASE = (
    "POST /v1/leases HTTP/1.1\r\nHost: x\r\nStillhouse-Protocol: 1\r\n"
    "Content-Type: application/json\r\nContent-Length: {n}\r\n\r\n{body}"
)
_BIG = {"postgres": ("-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB")}
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
_OUTSIDE = {
    "name": "outside",
    "runner": "outside",
    "parameters": [
        {"name": f"x{i}", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}
        for i in range(5)
    ],
    "objectives": ["loss"],
    "budget": {"trials": 1000},
}
Table = tuple[Sequence[str], Sequence[Sequence[Cell]]]


def main() -> None:
    """Measure the parts asked for; writes ``results/fleet.json``."""
    parts: dict[str, Callable[[Path], dict[str, Table]]] = {
        "leases": leases,
        "waiting": waiting,
        "takeover": takeover,
        "large": large,
    }
    wanted = sys.argv[sys.argv.index("--part") + 1].split(",") if "--part" in sys.argv else parts
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            _keep(name, parts[name](Path(folder)))


def _keep(part: str, tables: dict[str, Table]) -> None:
    """Write a part's tables beside those of the other parts."""
    path = RESULTS / "fleet.json"
    before = json.loads(path.read_text()) if path.exists() else {"tables": {}, "figures": {}}
    kept: dict[str, Table] = {
        name: (table["columns"], table["rows"]) for name, table in before["tables"].items()
    }
    load = round(os.getloadavg()[0], 2)
    figures = {**before["figures"], part: {"load_1m": load, "is_quick": QUICK}}
    record("fleet", kept | tables, figures)


# -- leases ----------------------------------------------------------------------------------------


def leases(folder: Path) -> dict[str, Table]:
    """How many jobs a second hosts are handed, and how many they are handed and report."""
    rows: list[list[Cell]] = []
    bursts: list[list[Cell]] = []
    for database, url, wanted in _databases(folder):
        filled = _Filled(url, folder / database)
        for n_servers in (1, 2) if database == "Postgres" else (1,):
            filled.jobs(_JOBS)
            with _servers(url, folder / database, n_servers) as servers:
                rates = asyncio.run(_bursts([one.url for one in servers], filled))
                middle, worst = statistics.median(rates), min(rates)
                bursts.append([database, n_servers, N_HOSTS, len(rates), middle, worst, wanted])
                processes = [psutil.Process(one.pid) for one in servers]
                begun = [sum(process.cpu_times()[:2]) for process in processes]
                urls = [one.url for one in servers]
                n, n_twice, n_told, elapsed_s, wait_ms = asyncio.run(_load(urls, N_HOSTS))
                used_s = sum(
                    sum(process.cpu_times()[:2]) - before
                    for process, before in zip(processes, begun, strict=True)
                )
            rows.append(
                [
                    database,
                    n_servers,
                    N_HOSTS,
                    n,
                    n / elapsed_s,
                    n_twice,
                    n_told,
                    1e3 * used_s / max(1, n),
                    wait_ms,
                ]
            )
        filled.engine.dispose()
    columns = (
        "database",
        "servers",
        "hosts",
        "jobs leased and reported",
        "a second",
        "handed out twice",
        "results taken",
        "servers' CPU a job, ms",
        "report p95, ms",
    )
    handed = ("database", "servers", "hosts", "times", "leases a second", "least", "wanted")
    return {"leases": (handed, bursts), "jobs": (columns, rows)}


async def _bursts(urls: Sequence[str], filled: _Filled) -> list[float]:
    """All hosts ask at once, and each gets a job; leases a second of each time."""
    bodies = []
    async with httpx.AsyncClient(base_url=urls[0], timeout=60) as http:
        http.headers["Stillhouse-Protocol"] = "1"
        for i in range(N_HOSTS):
            body = {"name": f"burst-{i}", "version": "1", "devices": [_device("CPU", str(i))]}
            known = (await http.post("/v1/workers", json=body)).raise_for_status().json()
            ids = {"worker_id": known["id"], "device_id": known["devices"][0]["id"]}
            bodies.append(json.dumps({**ids, "wait_s": 30}))
    streams = []
    for i in range(N_HOSTS):
        host, _, port = urls[i % len(urls)].removeprefix("http://").partition(":")
        streams.append(await asyncio.open_connection(host, int(port)))
    rates = []
    for _ in range(N_BURSTS):
        begun_s = time.perf_counter()
        given = await asyncio.gather(
            *(
                _lease(reader, writer, body)
                for (reader, writer), body in zip(streams, bodies, strict=True)
            )
        )
        rates.append(len(given) / (time.perf_counter() - begun_s))
        jobs = [lease["job"]["id"] for lease in given]
        assert len(set(jobs)) == N_HOSTS, "a job was handed out twice"
        with filled.store.begin() as work:  # for the next time, which is not measured
            for lease in given:
                attempts.release(work, work.stages.attempt(lease["id"]), "bench")
    for _, writer in streams:
        writer.close()
    return rates


async def _lease(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: str
) -> dict[str, Any]:
    writer.write(_LEASE.format(n=len(body), body=body).encode())
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    assert head.startswith("http/1.1 200"), head
    n = next(int(line[16:]) for line in head.splitlines() if line.startswith("content-length: "))
    found: dict[str, Any] = json.loads(await reader.readexactly(n))
    return found


def _device(kind: str, host: str) -> dict[str, Any]:
    return {
        "name": "CPU",
        "kind": kind,
        "full_name": "A device",
        "runtime": "openvino",
        "runtime_version": "2026.0.0",
        "precisions": ["f32"],
        "max_opset": 21,
        "host": host,
        "capabilities": ["benchmark"],
    }


async def _load(urls: Sequence[str], n_hosts: int) -> tuple[int, int, int, float, float]:
    async with simulated_hosts(Fleet(n_hosts), Law(), urls) as tally:
        while not tally.leased_at:
            await asyncio.sleep(0.01)
        begun_s = time.perf_counter()
        n_before = len(tally.leased_at)
        deadline = begun_s + _SECONDS
        while time.perf_counter() < deadline:
            await asyncio.sleep(0.05)
        elapsed_s = time.perf_counter() - begun_s
        n = len(tally.leased_at) - n_before
        last_s = max(tally.leased_at)
        if last_s < deadline - 1.0:  # all were given out before the end
            elapsed_s = last_s - begun_s
        ranked = sorted(tally.wait_ms) or [0.0]
        p95 = ranked[int(0.95 * (len(ranked) - 1))]
        return n, tally.n_twice, tally.n_told, elapsed_s, p95


class _Filled:
    """A database with a baseline, and studies whose trials wait for a device."""

    def __init__(self, url: str, folder: Path) -> None:
        self.engine = open_engine(url)
        prepare(self.engine)
        self.store = Store(self.engine)
        self.artifacts = ArtifactStore(folder / "artifacts")
        with self.store.begin() as work:
            wanted = BaselineIn(model="resnet20_cifar", dataset="digits")
            self.baseline = lives.create_baseline(work, wanted).id
            (stage,) = work.stages.waiting("compute", work.now, 1)
            attempt = attempts.start(work, stage, "bench", None)
            attempts.succeed(work, attempt)
            metrics = {"validation_top1": 0.95, "params": 1, "macs": 1, "onnx_bytes": 1}
            files = self._files()
            outcomes.trained(work, stage, {"artifacts": files, "metrics": metrics, "details": {}})
        with self.store.read() as view:
            baseline = view.baselines.named(self.baseline)
        self.spec = StudySpec(
            name="load",
            baseline=self.baseline,
            device="CPU",
            template=TEMPLATE,
            training="epochs: 4\n",
            constraints=["top1_drop <= 0.02"],
            budget=Budget(trials=10_000),
            parallel=64,
        )
        self.search = check_study(self.spec, baseline, set(), False)

    def study(self) -> str:
        """A study that runs and whose baseline was measured."""
        with self.store.begin() as work:
            study = lives.begin_study(work, self.spec, self.search)
            for stage in work.stages.open_of_study(study.id):
                attempts.cancel(work, stage, "bench", "nobody measures")
            study.baseline_measurement = {
                "p50_ms": 2.0,
                "p95_ms": 2.0,
                "throughput_per_s": 500.0,
                "validation_top1": 0.95,
                "validation_top5": 0.99,
                "n_images": 1000,
            }
            study.started_at = work.now
            work.move(study, StudyState.RUNNING, "bench")
            return study.id

    def jobs(self, n: int) -> None:
        """Studies with so many jobs that wait for a device; paused, so that none are proposed."""
        for first in range(0, n, _JOBS_A_STUDY):
            study_id = self.study()
            with self.store.begin() as work:
                study = work.studies.named(study_id)
                for i in range(min(_JOBS_A_STUDY, n - first)):
                    config = {"pruners.filters.final_sparsity": 0.1 + 0.7 * i / _JOBS_A_STUDY}
                    start_trial(work, study, i, config, "initial", "bench")
                work.move(study, StudyState.PAUSED, "bench")
        self.compute(n)

    def compute(self, n: int) -> None:
        """Do what waits for compute, with made-up files."""
        while n > 0:
            with self.store.begin() as work:
                waiting = work.stages.waiting("compute", work.now, 200)
                for stage in waiting:
                    attempt = attempts.start(work, stage, "bench", None)
                    attempts.succeed(work, attempt)
                    made = {"artifacts": self._files(), "metrics": {}, "details": {}}
                    outcomes.compressed(work, stage, made)
            if not waiting:
                return
            n -= len(waiting)

    def _files(self) -> dict[str, Any]:
        names = ("weights", "onnx", "probe_inputs", "probe_outputs", "schedule")
        made_up = truth(Law(), {}, {}, {"a.weight": (8, 8, 3, 3)}).to_json()
        stored = vars(self.artifacts.put(json.dumps({"made_up": made_up}).encode()))
        return dict.fromkeys((*names, "data_validation", "data_test"), stored)


# -- waiting ---------------------------------------------------------------------------------------


def waiting(folder: Path) -> dict[str, Table]:
    """What others notice of a thousand clients that wait at one server."""
    rows: list[list[Cell]] = []
    for database, url, _ in _databases(folder):
        filled = _Filled(url, folder / database)
        study = filled.study()
        filled.jobs(50)
        with filled.store.begin() as work:  # nothing for the hosts that wait
            for stage in work.stages.waiting("device", work.now, 1000):
                attempts.cancel(work, stage, "bench", "nobody measures")
            work.move(work.studies.named(study), StudyState.PAUSED, "bench")
        with _servers(url, folder / database, 1) as (server,):
            rows += asyncio.run(_wait(database, server, filled, study))
        filled.engine.dispose()
    columns = (
        "database",
        "who waits",
        "meanwhile",
        "n",
        "p50, ms",
        "p95, ms",
        "wanted below, ms",
        "server's threads",
        "database connections",
        "server's CPU, s a second",
    )
    return {"waiting": (columns, rows)}


async def _wait(database: str, server: Replica, filled: _Filled, study: str) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    process = psutil.Process(server.pid)
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        etag = (await http.get(f"/v1/studies/{study}")).headers["etag"]
        device = await _register(http)

        async def measure(who: str, meanwhile: str, change_s: float | None) -> None:
            stop = asyncio.Event()
            changing = asyncio.create_task(_change(filled, study, change_s, stop))
            cpu_s, begun_s = sum(process.cpu_times()[:2]), time.perf_counter()
            times = []
            for i in range(N_READS):
                before_s = time.perf_counter()
                if i % 3:
                    answer = await http.get(f"/v1/studies/{study}")
                else:
                    answer = await http.post("/v1/leases", json={**device, "wait_s": 0})
                assert answer.status_code in (200, 204), answer.text
                times.append((time.perf_counter() - before_s) * 1e3)
                await asyncio.sleep(0.01)
            elapsed_s = time.perf_counter() - begun_s
            used = (sum(process.cpu_times()[:2]) - cpu_s) / elapsed_s
            stop.set()
            await changing
            ranked = sorted(times)
            p50, p95 = statistics.median(ranked), ranked[int(0.95 * (len(ranked) - 1))]
            n_connections = _n_connections(filled.engine)
            row: list[Cell] = [database, who, meanwhile, len(times), p50, p95, 50]
            rows.append([*row, process.num_threads(), n_connections, used])

        await measure("nobody", "nothing happens", None)
        n = N_WAITING // 4
        async with _Crowd(server.url) as crowd:
            await crowd.poll(f"/v1/studies/{study}?wait=60", etag, n)
            await crowd.listen(f"/v1/studies/{study}/events/stream", n)
            await crowd.lease(2 * n)
            await asyncio.sleep(2.0)
            who = f"{n} polls, {n} streams, {2 * n} hosts"
            await measure(who, "nothing happens", None)
            await measure(who, "their study changes 5 times a second", 0.2)
    return rows


async def _register(http: httpx.AsyncClient) -> dict[str, str]:
    body = {"name": "other", "version": "1", "devices": [_device("OTHER", "other")]}
    http.headers["Stillhouse-Protocol"] = "1"
    known = (await http.post("/v1/workers", json=body)).json()
    return {"worker_id": known["id"], "device_id": known["devices"][0]["id"]}


async def _change(filled: _Filled, study: str, every_s: float | None, stop: asyncio.Event) -> None:
    """Write something about a study again and again, as another process."""

    def write() -> None:
        with filled.store.begin() as work:
            row = work.studies.named(study)
            row.name = "a" if row.name != "a" else "b"
            work.note(row, "bench", kind="priority")

    while every_s is not None and not stop.is_set():
        await asyncio.to_thread(write)
        await asyncio.sleep(every_s)


class _Crowd:
    """Clients that wait, on plain sockets: they cost this process next to nothing."""

    def __init__(self, url: str) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._url = url
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> _Crowd:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def poll(self, path: str, etag: str, n: int) -> None:
        """Ask for another answer than the one known, again and again."""
        await self._join(
            n, f"GET {path} HTTP/1.1\r\nHost: x\r\nIf-None-Match: {{etag}}\r\n\r\n", etag
        )

    async def listen(self, path: str, n: int) -> None:
        """Listen to a stream."""
        await self._join(n, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n", "")

    async def lease(self, n: int) -> None:
        """Ask for jobs, as so many hosts."""
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as http:
            for i in range(n):
                http.headers["Stillhouse-Protocol"] = "1"
                name = f"waiting-{i}"
                body = {"name": name, "version": "1", "devices": [_device("CPU", name)]}
                known = (await http.post("/v1/workers", json=body)).json()
                ids = {"worker_id": known["id"], "device_id": known["devices"][0]["id"]}
                asked = json.dumps({**ids, "wait_s": 60})
                request = _LEASE.format(n=len(asked), body=asked)
                await self._join(1, request, "")

    async def _join(self, n: int, request: str, etag: str) -> None:
        for _ in range(n):
            streams = await asyncio.open_connection(self._host, self._port)
            self._tasks.append(asyncio.create_task(_stay(*streams, request, etag)))


async def _stay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: str, etag: str
) -> None:
    try:
        while True:
            writer.write(request.replace("{etag}", etag).encode())
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
            if "transfer-encoding" in fields:
                while await reader.read(65536):
                    pass
                return
            await reader.readexactly(int(fields.get("content-length", 0)))
            etag = fields.get("etag", etag)
    finally:
        writer.close()


def _n_connections(engine: Engine) -> int | None:
    if engine.dialect.name == "sqlite":
        return None
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stillhouse'"
    with engine.connect() as connection:
        n = int(connection.execute(text(query)).scalar_one())
    pool: Any = engine.pool
    n_own: int = pool.checkedin() + 1  # this bench's
    return n - n_own


# -- taking over -----------------------------------------------------------------------------------


def takeover(folder: Path) -> dict[str, Table]:
    """How long nobody drives when the server that drives is killed, frozen or ended."""
    rows: list[list[Cell]] = []
    with ExitStack() as stack:
        url = stack.enter_context(_postgres(folder))
        filled = _Filled(url, folder / "Postgres")
        filled.study()
        replicas = stack.enter_context(_forker())
        for how, number in (
            ("kill -9", signal.SIGKILL),
            ("frozen (SIGSTOP)", signal.SIGSTOP),
            ("ended (SIGTERM)", signal.SIGTERM),
        ):
            gaps = []
            for _ in range(N_KILLS if number != signal.SIGSTOP else max(1, N_KILLS // 2)):
                environment = _environment(url, folder / "Postgres")
                both = [replicas.start(environment) for _ in range(2)]
                while not any(one.drives for one in both):
                    time.sleep(0.1)
                first, second = sorted(both, key=lambda one: one.drives, reverse=True)
                time.sleep(1.0)
                first.send(number)
                begun_s = time.perf_counter()
                while not second.drives:
                    time.sleep(0.02)
                gaps.append(time.perf_counter() - begun_s)
                replicas.end_all()
            rows.append([how, len(gaps), statistics.median(gaps), max(gaps), 30])
        filled.engine.dispose()
    columns = ("the leading server is", "n", "median, s", "longest, s", "wanted below, s")
    return {"takeover": (columns, rows)}


# -- large -----------------------------------------------------------------------------------------


def large(folder: Path) -> dict[str, Table]:
    """A database of many studies and trials beside an empty one."""
    rows: list[list[Cell]] = []
    with _postgres(folder, _BIG["postgres"]) as url:
        filled = _Filled(url, folder / "Postgres")
        study = filled.study()
        filled.jobs(1)
        sizes = [(0, 0), (N_STUDIES // 10, N_TRIALS), (N_STUDIES, N_TRIALS)]
        n_there = 0
        for n_studies, n_trials in sizes:
            begun_s = time.perf_counter()
            _multiply(filled.engine, study, n_there, n_studies, n_trials)
            print(f"{n_studies} studies loaded, {time.perf_counter() - begun_s:.0f} s", flush=True)
            n_there = n_studies
            with _servers(url, folder / "Postgres", 1) as (server,):
                rows += _reads(server, n_studies, n_studies * n_trials)
            with filled.engine.connect() as connection:
                size = connection.execute(text("SELECT pg_database_size(current_database())"))
                n_mb = size.scalar_one() / 1e6
            what = f"database on disk: {n_mb:.0f} MB"
            rows.append([n_studies, n_studies * n_trials, what, None, None, None, None])
        filled.engine.dispose()
    columns = ("studies", "trials", "what", "n", "p50, ms", "p95, ms", "wanted below, ms")
    return {"large": (columns, rows)}


def _multiply(engine: Engine, study: str, first: int, last: int, n_trials: int) -> None:
    """Copy a study and its one trial, each trial with its stages, attempts and events."""
    if last <= first:
        return
    # Written out: Postgres takes no parameters in CREATE TABLE.
    numbers = {
        ":study": f"'{study}'",
        ":first": first,
        ":last": last - 1,
        ":n)": f"{n_trials - 1})",
    }
    steps = [
        "CREATE TEMP TABLE s AS SELECT k, 'std_' || lpad(k::text, 16, '0') AS id"
        " FROM generate_series(:first, :last) AS k",
        "INSERT INTO study (id, name, state, reason, baseline_id, spec, problem,"
        " baseline_measurement, incumbent_id, final, failures_from, priority, experiment_id,"
        " revision, created_at, started_at, finished_at)"
        " SELECT s.id, 'load ' || k, 'finished', NULL, baseline_id, spec, problem,"
        " baseline_measurement, NULL, NULL, 0, 0, NULL, 0, created_at, started_at, now()"
        " FROM study, s WHERE study.id = :study",
        "CREATE TEMP TABLE t AS SELECT s.id AS study_id, n AS number,"
        " lpad(s.k::text, 8, '0') || lpad(n::text, 8, '0') AS id"
        " FROM s, generate_series(0, :n) AS n",
        "INSERT INTO trial (id, study_id, number, state, config, origin, prediction, seed, metrics,"
        " is_feasible, violations, failure, progress, artifacts, details, created_at, started_at,"
        " finished_at)"
        " SELECT 'trl_' || id, study_id, number, 'complete',"
        " (SELECT json_object_agg('pruners.stage' || j || '.final_sparsity',"
        "   (hashtext(id || j) & 65535) / 65536.0) FROM generate_series(1, 20) AS j),"
        " 'model', '{\"latency_ratio\": 0.7, \"p_feasible\": 0.8}', number,"
        " json_build_object('latency_ratio', 0.5 + number / 4000.0, 'top1', 0.94,"
        " 'top1_drop', 0.01, 'latency_p50_ms', 1.4, 'latency_p95_ms', 1.5,"
        " 'macs', 17000000, 'params', 120000),"
        " true, '{}', NULL, '{}',"
        " json_build_object('onnx', repeat(md5(id), 2), 'weights', repeat(md5(id || 'w'), 2)),"
        " json_build_object('schedule', repeat('x', 500)), now(), now(), now() FROM t",
        "CREATE TEMP TABLE g AS SELECT t.*, kind, lane FROM t,"
        " (VALUES ('compress', 'compute'), ('benchmark', 'device')) AS kinds (kind, lane)",
        "INSERT INTO stage (id, kind, lane, state, baseline_id, study_id, trial_id, device, "
        '"order", n_spent, priority, failure, available_at, created_at, finished_at)'
        " SELECT left(kind, 1) || id, kind, lane, 'done', NULL, study_id, 'trl_' || id, 'CPU',"
        " '{}', 0, 0, NULL, now(), now(), now() FROM g",
        "INSERT INTO attempt (id, stage_id, number, token, state, holder, expires_at, failure,"
        " started_at, finished_at)"
        " SELECT 'l' || left(kind, 1) || id, left(kind, 1) || id, 1, 'x', 'succeeded', 'bench',"
        " NULL, NULL, now(), now() FROM g",
        "INSERT INTO event (at, study_id, subject, kind, who, before, after, reason)"
        " SELECT now(), study_id, 'trl_' || id, 'state', 'driver', 'queued', after, NULL"
        " FROM t, (VALUES ('compressing'), ('compressed'), ('benchmarking'), ('complete'))"
        " AS states (after)",
        "DROP TABLE s, t, g",
    ]
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL synchronous_commit = off"))
        for step in steps:
            for name, value in numbers.items():
                step = step.replace(name, str(value))
            connection.exec_driver_sql(step.replace("%", "%%"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as alone:
        alone.execute(text("VACUUM (ANALYZE)"))


def _reads(server: Replica, n_studies: int, n_trials: int) -> list[list[Cell]]:
    process, http = psutil.Process(server.pid), server.http
    rows: list[list[Cell]] = []

    def add(what: str, wanted: int | None, act: Callable[[int], object], n: int = N_READS) -> None:
        for i in range(5):
            act(i)
        times = []
        for i in range(n):
            begun_s = time.perf_counter()
            act(5 + i)
            times.append((time.perf_counter() - begun_s) * 1e3)
        ranked = sorted(times)
        p95 = ranked[int(0.95 * (len(ranked) - 1))]
        rows.append([n_studies, n_trials, what, n, statistics.median(ranked), p95, wanted])

    def study_of(i: int) -> str:
        return f"std_{(i * 7919) % n_studies:016d}"

    def get(path: str) -> httpx.Response:
        return http.get(path).raise_for_status()

    if n_studies:
        add(
            "trials page, 100 rows",
            50,
            lambda i: get(f"/v1/studies/{study_of(i)}/trials?page_size=100"),
        )
        add("study summary", None, lambda i: get(f"/v1/studies/{study_of(i)}"))
        add("list of studies, 100", None, lambda _: get("/v1/studies?page_size=100"))
    asked = http.post("/v1/studies", json=_OUTSIDE).raise_for_status().json()["id"]

    def ask(_: int) -> None:
        given = http.post(f"/v1/studies/{asked}/ask", json={"n": 1}).raise_for_status().json()
        (item,) = given["items"]
        metrics = {"loss": sum(item["trial"]["config"].values())}
        told = {"token": item["token"], "metrics": metrics}
        http.post(f"/v1/trials/{item['trial']['id']}/tell", json=told).raise_for_status()

    add("ask and tell, proposal included", None, ask, 40)
    idle_s, before = 3.0, sum(process.cpu_times()[:2])
    time.sleep(idle_s)
    used = (sum(process.cpu_times()[:2]) - before) / idle_s
    memory = process.memory_info().rss / 1e6
    rows.append([n_studies, n_trials, f"idle: {used:.3f} s CPU a second", None, None, None, None])
    rows.append(
        [n_studies, n_trials, f"server's memory: {memory:.0f} MB of 1000", None, None, None, None]
    )
    return rows


# -- servers and databases -------------------------------------------------------------------------


def _databases(folder: Path) -> Iterator[tuple[str, str, int]]:
    """SQLite as it is served; Postgres that syncs every commit, as it is installed."""
    (folder / "SQLite").mkdir()
    yield "SQLite", f"sqlite:///{folder}/SQLite/bench.db", 50
    with _postgres(folder) as url:
        yield "Postgres", url, 200


@contextmanager
def _postgres(folder: Path, options: Sequence[str] = ()) -> Iterator[str]:
    (folder / "Postgres").mkdir()
    postgres = Postgres(options=options)
    postgres.run("CREATE DATABASE bench")
    try:
        yield postgres.url("bench")
    finally:
        postgres.stop()


@contextmanager
def _forker() -> Iterator[Replicas]:
    replicas = Replicas()
    try:
        yield replicas
    finally:
        replicas.stop()


@contextmanager
def _servers(url: str, folder: Path, n: int) -> Iterator[list[Replica]]:
    with _forker() as replicas:
        yield [replicas.start(_environment(url, folder)) for _ in range(n)]


def _environment(url: str, folder: Path) -> dict[str, str]:
    return {
        "STILLHOUSE_DATABASE_URL": url,
        "STILLHOUSE_ARTIFACT_DIR": str(folder / "artifacts"),
        "STILLHOUSE_COMPUTE": "none",
    }


if __name__ == "__main__":
    main()
