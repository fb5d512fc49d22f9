"""An experiment's trials and their layers as flat rows: what its tables and its analysis read.

Depends on: the store; pyarrow where it is installed, for Parquet.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse_service.parquet import check_parquet
from stillhouse_service.states import TrialState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import BaselineRow, ExperimentRow, MeasurementRow, StudyRow, TrialRow

Row = dict[str, Any]
_METRICS = (
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_ratio",
    "latency_ratio_low",
    "latency_ratio_high",
    "aa_ratio",
    "top1",
    "top5",
    "top1_drop",
    "top1_drop_high",
    "params",
    "macs",
    "model_bytes",
)


@dataclass(frozen=True)
class Results:
    """What an experiment has measured.

    Attributes:
        trials: One row a trial, whatever became of it, by study and number.
        layers: One row for each layer of each measured trial, in the device's order.
    """

    trials: list[Row]
    layers: list[Row]

    def table(self, name: str) -> list[Row]:
        """Give `trials` or `layers`."""
        return self.trials if name == "trials" else self.layers


def read_results(view: UnitOfWork, experiment: ExperimentRow) -> Results:
    """Read an experiment's trials with their last measurement of the validation split."""
    studies = {study.id: study for study in view.experiments.studies_of(experiment.id)}
    measured: dict[str, MeasurementRow] = {}
    for one in view.experiments.measurements_of(list(studies)):
        if one.trial_id is not None and one.split == "validation":
            measured[one.trial_id] = one
    baselines = {s.id: view.baselines.of(s) for s in studies.values()}
    trials: list[Row] = []
    layers: list[Row] = []
    for trial in view.experiments.trials_of(list(studies)):
        study = studies[trial.study_id]
        baseline = baselines[study.id]
        case = experiment.cases[baseline.id][trial.number]
        row = _trial_row(experiment, study, baseline, trial, case)
        measurement = measured.get(trial.id)
        if measurement is not None:
            row["is_distinguishable"] = bool(measurement.result["is_distinguishable"])
            layers += _layer_rows(row, trial, measurement)
        trials.append(row)
    return Results(trials, layers)


def to_csv(rows: Sequence[Row]) -> str:
    """Write rows as CSV, columns as in the first; what was not measured is empty."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()


def to_parquet(rows: Sequence[Row]) -> bytes:
    """Write rows as Parquet.

    Raises:
        ExtraMissing: The server has no pyarrow.
    """
    check_parquet()
    import pyarrow as pa  # type: ignore[import-untyped]  # has no types
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # has no types

    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), file)
    return file.getvalue()


def _trial_row(
    experiment: ExperimentRow,
    study: StudyRow,
    baseline: BaselineRow,
    trial: TrialRow,
    case: Mapping[str, Any],
) -> Row:
    metrics: Mapping[str, Any] = trial.metrics or {}
    is_measured = trial.state == TrialState.COMPLETE
    sparsity: Sequence[Mapping[str, Any]] = trial.details.get("sparsity", ())
    dense = sum(math.prod(row["dense_shape"]) for row in sparsity)
    now = sum(math.prod(row["shape"]) for row in sparsity)
    n_zero = sum(row["n_zero"] for row in sparsity)
    failure: Mapping[str, Any] = trial.failure or {}
    return {
        "experiment": experiment.id,
        "stage": experiment.stage,
        "study": study.id,
        "trial": trial.id,
        "number": trial.number,
        "baseline": baseline.id,
        "model": baseline.model,
        "dataset": baseline.dataset,
        "device": study.spec["device"],
        "case": case["name"],
        "algorithm": case["algorithm"],
        "domain": case["domain"],
        "scope": case["scope"],
        "layers": case["layers"],
        "level": case["level"],
        "is_control": case["is_control"],
        "state": trial.state.value,
        "failure": failure.get("reason"),
        "is_feasible": trial.is_feasible,
        **{name: metrics.get(name) if is_measured else None for name in _METRICS},
        "is_distinguishable": None,
        "mac_share": _share(metrics.get("macs"), baseline.metrics.get("macs")),
        "param_share": _share(metrics.get("params"), baseline.metrics.get("params")),
        "removed_share": 1.0 - now / dense if dense else None,
        "zero_share": n_zero / dense if dense else None,
    }


def _layer_rows(trial_row: Row, trial: TrialRow, measurement: MeasurementRow) -> Iterator[Row]:
    sparsity = trial.details.get("sparsity", ())
    known: dict[str, tuple[int | None, Mapping[str, Any]]] = {
        row["layer"]: (position, row) for position, row in enumerate(sparsity)
    }
    names = ("experiment", "trial", "number", "model", "device", "case", "algorithm", "domain")
    shared = {name: trial_row[name] for name in (*names, "scope", "level")}
    for timed in measurement.result["layers"]:
        position, row = known.get(timed["layer"], (None, {}))
        dense, now = row.get("dense_shape"), row.get("shape")
        weights = math.prod(dense) if dense else None
        yield {
            **shared,
            "layer": timed["layer"],
            "type": row.get("type") or timed["type"],
            "position": None if position is None else position / max(1, len(known) - 1),
            "dense_weights": weights,
            "dense_macs": row.get("dense_macs"),
            "filters": dense[0] if dense else None,
            "channels": dense[1] if dense else None,
            "removed_share": 1.0 - math.prod(now) / weights if now and weights else None,
            "zero_share": row["n_zero"] / weights if weights else None,
            "mac_share": _share(row.get("macs"), row.get("dense_macs")),
            "candidate_ms": timed["candidate_ms"],
            "baseline_ms": timed["baseline_ms"],
        }


def _share(now: float | None, before: float | None) -> float | None:
    return None if now is None or not before else now / before
