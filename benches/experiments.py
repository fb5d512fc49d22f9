"""A sweep of 100 stored trials evaluated: rows, analysis, tables, plots, CSV, the page.

Depends on: the service. The trials lie in a SQLite file, every layer of ResNet-20 timed in each;
what is measured is what a server does for results, analysis and report together.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from record import record

from stillhouse_compression import datasets, models
from stillhouse_compression.layers import layer_table
from stillhouse_compression.sweep import ALGORITHMS, Entry, sweep_cases
from stillhouse_compression.sweep.cases import unchanged
from stillhouse_service import attempts, experiments, lives, outcomes
from stillhouse_service.database import open_engine, prepare
from stillhouse_service.experiment_evaluations import evaluate
from stillhouse_service.experiment_results import read_results, to_csv
from stillhouse_service.layouts import Layout, complete
from stillhouse_service.listed import start_case
from stillhouse_service.report.experiment_page import render_experiment
from stillhouse_service.schemas import BaselineIn
from stillhouse_service.schemas.experiments import ExperimentIn
from stillhouse_service.states import BaselineState, TrialState
from stillhouse_service.store import Store, UnitOfWork
from stillhouse_service.tables import ExperimentRow, MeasurementRow

N_TRIALS = 100
N_RUNS = 5
WANTED_S = 5.0
MODEL, DATASET = "resnet20_cifar", "digits"


def main() -> None:
    """Measure; writes ``results/experiments.json``."""
    with tempfile.TemporaryDirectory() as name:
        engine = open_engine(f"sqlite:///{name}/bench.db")
        prepare(engine)
        store = Store(engine)
        with store.begin() as work:
            experiment_id = _fill(work).id
        took = [_evaluated(store, experiment_id, Path(name)) for _ in range(N_RUNS)]
        engine.dispose()
    seconds = statistics.median(took)
    print(f"{N_TRIALS} trials in {seconds:.2f} s", file=sys.stderr)
    columns = ("trials", "layers of each", "all tables and plots, s", "wanted below, s")
    record(
        "experiments",
        {"evaluation": (columns, [[N_TRIALS, 22, round(seconds, 2), WANTED_S]])},
        {"seconds": took},
    )


def _evaluated(store: Store, experiment_id: str, folder: Path) -> float:
    began = time.perf_counter()
    with store.read() as view:
        experiment = view.experiments.named(experiment_id)
        shown = experiments.show(view, experiment).model_dump(mode="json")
        evaluations = evaluate(view, experiment)
        results = read_results(view, experiment)
    (folder / "page.html").write_text(render_experiment(shown, evaluations))
    (folder / "trials.csv").write_text(to_csv(results.trials))
    (folder / "layers.csv").write_text(to_csv(results.layers))
    assert len(results.trials) == N_TRIALS
    return time.perf_counter() - began


def _fill(work: UnitOfWork) -> ExperimentRow:
    """Write a sweep whose trials are all complete."""
    draw = random.Random(0)
    info = datasets.dataset_info(DATASET)
    network = models.build(MODEL, info.n_classes)
    baseline = lives.create_baseline(work, BaselineIn(model=MODEL, dataset=DATASET))
    work.move(baseline, BaselineState.TRAINING, "bench")
    work.move(baseline, BaselineState.COMPLETE, "bench")
    baseline.metrics = {"params": 270_000, "macs": 40_000_000}
    baseline.artifacts = {"weights": "none"}
    entries = [Entry(name, ("all", "stage", "layer")) for name in ALGORITHMS]
    training = {"epochs": 2, "recovery_epochs": 1}
    made = [unchanged(), *sweep_cases(network, info.shape, entries, 2)]
    cases = [complete(case.to_json(), training) for case in draw.sample(made, N_TRIALS)]
    wanted = ExperimentIn(stage="sweep", name="bench", training=training)
    experiment = experiments.begin(work, wanted, Layout([baseline], ["CPU"], {baseline.id: cases}))
    study = work.experiments.studies_of(experiment.id)[0]
    rows = [row.to_json() for row in layer_table(network, info.shape)]
    for number, case in enumerate(cases):
        trial = start_case(work, study, number, case, "bench")
        share = draw.uniform(0.2, 1.0)
        trial.metrics = {
            **_metrics(draw, share),
            "macs": 40_000_000 * share,
            "params": 270_000 * share,
        }
        trial.details = {"sparsity": [_layer(draw, row) for row in rows]}
        trial.is_feasible = draw.random() < 0.7
        for state in (TrialState.COMPRESSING, TrialState.COMPRESSED):
            work.move(trial, state, "bench")
        stage = outcomes.new_stage(work, "benchmark", order={}, trial=trial, device="CPU")
        work.log.add(_measurement(work, draw, study.id, trial.id, stage.id, trial.metrics, rows))
        work.move(trial, TrialState.COMPLETE, "bench")
    return experiment


def _metrics(draw: random.Random, share: float) -> dict[str, float]:
    ratio = 0.4 + 0.6 * share + draw.gauss(0, 0.02)
    return {
        "latency_p50_ms": ratio,
        "latency_p95_ms": ratio * 1.1,
        "latency_ratio": ratio,
        "latency_ratio_low": ratio - 0.02,
        "latency_ratio_high": ratio + 0.02,
        "aa_ratio": 1.0 + draw.gauss(0, 0.01),
        "top1": 0.95,
        "top5": 1.0,
        "top1_drop": draw.uniform(0, 0.1),
        "top1_drop_high": 0.1,
        "model_bytes": 1e6 * share,
    }


def _layer(draw: random.Random, row: Mapping[str, Any]) -> dict[str, Any]:
    shape = list(row["shape"])
    shape[0] = max(1, int(shape[0] * draw.uniform(0.3, 1.0)))
    macs = int(row["dense_macs"] * shape[0] / row["shape"][0])
    return {**row, "shape": shape, "macs": macs, "n_zero": 0}


def _measurement(
    work: UnitOfWork,
    draw: random.Random,
    study_id: str,
    trial_id: str,
    stage_id: str,
    metrics: Mapping[str, float],
    rows: Sequence[Mapping[str, Any]],
) -> MeasurementRow:
    stage = work.stages.stage(stage_id)
    attempt = attempts.start(work, stage, "dev_bench", None)
    layers = [
        {
            "layer": row["layer"],
            "type": "Convolution",
            "candidate_ms": draw.uniform(0.01, 0.05),
            "baseline_ms": 0.05,
        }
        for row in rows
    ]
    return MeasurementRow(
        stage_id=stage_id,
        attempt_id=attempt.id,
        study_id=study_id,
        trial_id=trial_id,
        device_id="dev_bench",
        purpose="trial",
        split="validation",
        at=work.now,
        metrics=dict(metrics),
        result={"is_distinguishable": True, "layers": layers, "duration_s": 1.0},
    )


if __name__ == "__main__":
    main()
