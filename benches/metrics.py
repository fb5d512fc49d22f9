"""What a scrape of /metrics costs as trials grow: the first after a start, and those that follow.

Depends on: the service; tests/shared for a real Postgres. The rows are written directly: of each
trial two stages, two attempts and their events, one trial in twenty failed; a study has a thousand.
Between two scrapes one study has changed.

``STILLHOUSE_BENCH_QUICK=1`` takes a tenth of the trials, to see that it runs.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from record import Cell, record
from sqlalchemy import insert, text
from suites.filled_database import databases

from stillhouse_benchmark.protocol import Device
from stillhouse_service import leases
from stillhouse_service.database import open_engine, prepare
from stillhouse_service.ids import utc_now
from stillhouse_service.metrics import Metrics
from stillhouse_service.settings import Settings
from stillhouse_service.states import AttemptState, StageState, StudyState, TrialState
from stillhouse_service.store import Store
from stillhouse_service.tables import AttemptRow, EventRow, StageRow, StudyRow, TrialRow

QUICK = bool(os.environ.get("STILLHOUSE_BENCH_QUICK"))
SIZES = (1_000, 4_000) if QUICK else (10_000, 40_000)
N_SCRAPES = 20
_CHUNK = 2_000
_N_EACH = 1_000  # trials of a study
_LANES = (("compute", "compress"), ("device", "benchmark"))


def main() -> None:
    """Every size on both databases; writes ``results/metrics.json``."""
    rows: list[list[Cell]] = []
    with tempfile.TemporaryDirectory() as name:
        for database, url in databases(Path(name)):
            store = _opened(url)
            n_there = 0
            for n_trials in SIZES:
                _fill(store, n_there, n_trials)
                n_there = n_trials
                rows.append([database, n_trials, *_scraped(store)])
    columns = ("database", "trials", "first scrape, ms", "later, p50, ms", "later, p95, ms", "kB")
    record("metrics", {"scrape": (columns, rows)}, {"is_quick": QUICK, "n_scrapes": N_SCRAPES})


def _opened(url: str) -> Store:
    engine = open_engine(url)
    prepare(engine)
    store = Store(engine)
    device = Device("CPU", "CPU", "a device", "openvino", "2026.0", ("f32",), 21, "edge-1")
    with store.begin() as work:
        leases.register(work, "edge-1", "0.1.0", [device], Settings())
    return store


def _scraped(store: Store) -> list[Cell]:
    metrics = Metrics(store, Settings(), lambda: (1, 1))
    begun_s = time.perf_counter()
    n_bytes = len(metrics.text())
    first_ms = (time.perf_counter() - begun_s) * 1e3
    times_ms = []
    for _ in range(N_SCRAPES):
        metrics._last = (float("-inf"), b"")  # not what was told a moment ago
        with store.begin() as work:
            work.studies.revise(["std_0"])  # a trial of one study has moved meanwhile
        begun_s = time.perf_counter()
        metrics.text()
        times_ms.append((time.perf_counter() - begun_s) * 1e3)
    p95_ms = sorted(times_ms)[int(0.95 * (N_SCRAPES - 1))]
    return [first_ms, statistics.median(times_ms), p95_ms, n_bytes / 1e3]


def _fill(store: Store, n_before: int, n_after: int) -> None:
    engine = store._writing.kw["bind"]
    for first in range(n_before, n_after, _CHUNK):
        numbers = range(first, min(first + _CHUNK, n_after))
        with engine.begin() as connection:
            studies = [_study(n) for n in numbers if n % _N_EACH == 0]
            connection.execute(insert(StudyRow), studies)
            for table, made in (
                (TrialRow, [_trial(n) for n in numbers]),
                (StageRow, [_stage(n, lane) for n in numbers for lane in range(2)]),
                (AttemptRow, [_attempt(n, lane) for n in numbers for lane in range(2)]),
                (EventRow, [one for n in numbers for one in _events(n)]),
            ):
                connection.execute(insert(table), made)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as alone:
            alone.execute(text("VACUUM (ANALYZE)"))


def _study(n: int) -> dict[str, Any]:
    return {
        "id": _study_of(n),
        "name": "large",
        "state": StudyState.RUNNING,
        "spec": {"device": "CPU"},
        "problem": {},
        "failures_from": 0,
        "created_at": utc_now(),
    }


def _study_of(n: int) -> str:
    return f"std_{n // _N_EACH}"


def _trial(n: int) -> dict[str, Any]:
    has_failed = n % 20 == 0
    return {
        "id": f"trl_{n}",
        "study_id": _study_of(n),
        "number": n % _N_EACH,
        "state": TrialState.FAILED if has_failed else TrialState.COMPLETE,
        "config": {f"parameter {i}": 0.5 for i in range(20)},
        "origin": "model",
        "prediction": {},
        "seed": n,
        "metrics": None if has_failed else {"latency_ratio": 0.5, "top1": 0.9},
        "is_feasible": None if has_failed else True,
        "violations": {},
        "failure": {"class": "diverged", "reason": "NaN"} if has_failed else None,
        "progress": {},
        "artifacts": {},
        "details": {},
        "created_at": utc_now(),
    }


def _stage(n: int, lane: int) -> dict[str, Any]:
    return {
        "id": f"job_{n}_{lane}",
        "kind": _LANES[lane][1],
        "lane": _LANES[lane][0],
        "state": StageState.DONE,
        "study_id": _study_of(n),
        "trial_id": f"trl_{n}",
        "order": {},
        "n_spent": 0,
        "available_at": utc_now(),
        "created_at": utc_now(),
    }


def _attempt(n: int, lane: int) -> dict[str, Any]:
    ended = utc_now()
    return {
        "id": f"lse_{n}_{lane}",
        "stage_id": f"job_{n}_{lane}",
        "number": 1,
        "token": "token",
        "state": AttemptState.SUCCEEDED,
        "holder": "dev_1",
        "started_at": ended - timedelta(seconds=1 + n % 500),
        "finished_at": ended,
    }


def _events(n: int) -> Iterator[dict[str, Any]]:
    for lane in range(2):
        for before, after in ((None, "running"), ("running", "succeeded")):
            yield {
                "at": utc_now(),
                "study_id": _study_of(n),
                "subject": f"lse_{n}_{lane}",
                "kind": "attempt",
                "who": "dev_1",
                "before": before,
                "after": after,
            }


if __name__ == "__main__":
    main()
