"""Where benches of many at once run: databases with jobs that wait, servers that can be killed.

Depends on: the service; tests/shared for a real Postgres and for the servers.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from record import Cell
from suites.filled_database import TEMPLATE

from stillhouse_service import attempts, lives, outcomes
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.checks import check_study
from stillhouse_service.database import open_engine, prepare
from stillhouse_service.schemas import BaselineIn, Budget, StudySpec
from stillhouse_service.simulation.law import Law, truth
from stillhouse_service.states import StudyState
from stillhouse_service.steps import start_trial
from stillhouse_service.store import Store

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "shared"))
from postgres_server import Postgres
from replicas import Replica as Replica
from replicas import Replicas

QUICK = bool(os.environ.get("STILLHOUSE_BENCH_QUICK"))
N_READS = 50 if QUICK else 300
Table = tuple[Sequence[str], Sequence[Sequence[Cell]]]
_JOBS_A_STUDY = 50
# Of a host that asks for a job; the body holds `worker_id`, `device_id` and `wait_s`.
LEASE_REQUEST = (
    "POST /v1/leases HTTP/1.1\r\nHost: x\r\nStillhouse-Protocol: 1\r\n"
    "Content-Type: application/json\r\nContent-Length: {n}\r\n\r\n{body}"
)


class Filled:
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


def device_of(kind: str, host: str) -> dict[str, Any]:
    """What a host says of its device."""
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


def databases(folder: Path) -> Iterator[tuple[str, str, int]]:
    """SQLite as it is served; Postgres that syncs every commit, as it is installed."""
    (folder / "SQLite").mkdir()
    yield "SQLite", f"sqlite:///{folder}/SQLite/bench.db", 50
    with postgres_in(folder) as url:
        yield "Postgres", url, 200


@contextmanager
def postgres_in(folder: Path, options: Sequence[str] = ()) -> Iterator[str]:
    """A Postgres of a bench's own; gives the URL of its database."""
    (folder / "Postgres").mkdir()
    postgres = Postgres(options=options)
    postgres.run("CREATE DATABASE bench")
    try:
        yield postgres.url("bench")
    finally:
        postgres.stop()


@contextmanager
def forker() -> Iterator[Replicas]:
    """What starts servers; at the end all of them are killed."""
    replicas = Replicas()
    try:
        yield replicas
    finally:
        replicas.stop()


@contextmanager
def servers_of(url: str, folder: Path, n: int) -> Iterator[list[Replica]]:
    """So many servers of one database, which hand out no compute."""
    with forker() as replicas:
        yield [replicas.start(environment_of(url, folder)) for _ in range(n)]


def environment_of(url: str, folder: Path) -> dict[str, str]:
    """Settings of a server, as variables."""
    return {
        "STILLHOUSE_DATABASE_URL": url,
        "STILLHOUSE_ARTIFACT_DIR": str(folder / "artifacts"),
        "STILLHOUSE_COMPUTE": "none",
    }
