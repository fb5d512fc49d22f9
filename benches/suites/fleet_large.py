"""A database of many studies and trials beside an empty one.

Depends on: httpx, psutil, sqlalchemy.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]  # ships no types
from record import Cell
from sqlalchemy import Engine, text
from suites.fleet_places import N_READS, QUICK, Filled, Replica, Table, postgres_in, servers_of

from stillhouse_service import lives

N_STUDIES, N_TRIALS = (100, 100) if QUICK else (1000, 1000)
_OPTIONS = ("-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB")
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


def large(folder: Path) -> dict[str, Table]:
    """A database of many studies and trials beside an empty one."""
    rows: list[list[Cell]] = []
    with postgres_in(folder, _OPTIONS) as url:
        filled = Filled(url, folder / "Postgres")
        study = filled.study()
        filled.jobs(1)
        with filled.store.begin() as work:
            lives.pause_study(work, study)
        sizes = [(0, 0), (N_STUDIES // 10, N_TRIALS), (N_STUDIES, N_TRIALS)]
        n_there = 0
        for n_studies, n_trials in sizes:
            begun_s = time.perf_counter()
            _multiply(filled.engine, study, n_there, n_studies, n_trials)
            print(f"{n_studies} studies loaded, {time.perf_counter() - begun_s:.0f} s", flush=True)
            n_there = n_studies
            with servers_of(url, folder / "Postgres", 1) as (server,):
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
