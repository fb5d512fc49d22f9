"""A database with a large study, many small ones and one to run, for benches of the server.

Depends on: the service; tests/shared for a real Postgres.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text

from stillhouse_service import attempts, lives, outcomes
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.checks import check_study
from stillhouse_service.database import open_engine, prepare
from stillhouse_service.ids import utc_now
from stillhouse_service.schemas import BaselineIn, Budget, OptimizerIn, StudySpec
from stillhouse_service.states import StudyState, TrialState
from stillhouse_service.store import Store
from stillhouse_service.tables import TrialRow

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "shared"))
from postgres_server import Postgres

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


def databases(folder: Path) -> Iterator[tuple[str, str]]:
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


class Filled:
    """A database with a large paused study, many small ones, and one to run."""

    def __init__(self, url: str, folder: Path, n_trials: int, n_studies: int) -> None:
        """Fill an empty database.

        Args:
            url: The database's.
            folder: Where its artifacts shall lie.
            n_trials: Of the large study.
            n_studies: Of any size.
        """
        self._n_trials = n_trials
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
        for i in range(n_studies - 1):
            small = self._study(f"small {i}")
            with self.store.begin() as work:
                lives.cancel_study(work, small)
        chance = random.Random(0)
        with self.engine.begin() as connection:
            for n in range(0, n_trials, 1000):
                rows = [_trial(self.big, i, chance) for i in range(n, n + 1000)]
                connection.execute(insert(TrialRow), rows)
        if self.engine.dialect.name == "postgresql":
            # As its autovacuum would have: ten thousand trials come over weeks, not in one second.
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as alone:
                alone.execute(text("VACUUM (ANALYZE)"))

    def _study(self, name: str, n_trials: int | None = None) -> str:
        n_trials = n_trials or self._n_trials
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
