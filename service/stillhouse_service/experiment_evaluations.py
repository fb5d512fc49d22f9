"""An experiment evaluated: its rows and their analysis, network by network, device by device.

Depends on: the store, experiment_results, experiment_analysis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stillhouse_service.experiment_analysis import analyse
from stillhouse_service.experiment_results import read_results
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import ExperimentRow


def _survived(trials: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say of each network of stage 0 whether it arrived on the device as it left torch."""
    arrived = [row["case"] for row in trials if row["state"] == "complete"]
    if arrived:
        yield f"Arrived on the device as they left torch: {', '.join(arrived)}."
    for row in trials:
        if row["state"] in ("failed", "unsupported"):
            yield f"{row['case']} did not arrive: {row['failure']}."


def evaluate(view: UnitOfWork, experiment: ExperimentRow) -> list[dict[str, Any]]:
    """Evaluate each of an experiment's studies.

    Returns:
        One entry a baseline and device: `study`, `model`, `dataset`, `device`, `constraints`,
        `baseline` (its figures on the device, null before they are measured), `trials`
        (rows of the results) and `analysis`.
    """
    results = read_results(view, experiment)
    found = []
    for study in view.experiments.studies_of(experiment.id):
        baseline = view.baselines.named(study.baseline_id)
        trials = [row for row in results.trials if row["study"] == study.id]
        ids = {row["trial"] for row in trials}
        layers = [row for row in results.layers if row["trial"] in ids]
        measured = study.baseline_measurement
        analysis = analyse(trials, layers)
        if experiment.stage == "verify":
            analysis["conclusions"] = list(_survived(trials))
        found.append(
            {
                "study": study.id,
                "model": baseline.model,
                "dataset": baseline.dataset,
                "device": study.spec["device"],
                "constraints": study.spec["constraints"],
                "baseline": None if measured is None else dict(measured),
                "trials": trials,
                "analysis": analysis,
            }
        )
    return found
