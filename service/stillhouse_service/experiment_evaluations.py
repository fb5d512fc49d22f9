"""An experiment evaluated: its rows and their analysis, network by network, device by device.

Depends on: the store, experiment_results, experiment_analysis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stillhouse_service.experiment_analysis import analyse
from stillhouse_service.experiment_results import read_results
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import ExperimentRow, StudyRow


def _survived(trials: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say of each network of stage 0 whether it arrived on the device as it left torch."""
    arrived = [row["case"] for row in trials if row["state"] == "complete"]
    if arrived:
        yield f"Arrived on the device as they left torch: {', '.join(arrived)}."
    for row in trials:
        if row["state"] in ("failed", "unsupported"):
            yield f"{row['case']} did not arrive: {row['failure']}."


def _combined(
    view: UnitOfWork,
    experiment: ExperimentRow,
    study: StudyRow,
    trials: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Hold each combination against the fastest of its members, as the sweep measured them."""
    if experiment.stage != "combine" or experiment.subject_id is None:
        return []
    sweep = read_results(view, view.experiments.named(experiment.subject_id))
    alone = {
        row["case"]: row
        for row in sweep.trials
        if (row["baseline"], row["device"]) == (study.baseline_id, study.spec["device"])
        and row["latency_ratio"] is not None
    }
    members = {
        c["name"]: c.get("members", ()) for c in experiment.cases[view.baselines.of(study).id]
    }
    found = []
    for row in trials:
        rivals = [alone[name] for name in members[row["case"]] if name in alone]
        if row["latency_ratio"] is None or not rivals:
            continue
        best = min(rivals, key=lambda rival: float(rival["latency_ratio"]))
        verdict = "not distinguishable"
        if row["latency_ratio_high"] < best["latency_ratio_low"]:
            verdict = "faster"
        elif row["latency_ratio_low"] > best["latency_ratio_high"]:
            verdict = "slower"
        ends = ("latency_ratio", "latency_ratio_low", "latency_ratio_high", "top1_drop")
        found.append(
            {
                "case": row["case"],
                "member": best["case"],
                "verdict": verdict,
                "is_feasible": row["is_feasible"],
                **{name: row[name] for name in ends},
                **{f"member_{name}": best[name] for name in ends},
            }
        )
    return found


def _said(one: Mapping[str, Any]) -> str:
    verdict = {
        "faster": "is faster than",
        "slower": "is slower than",
        "not distinguishable": "cannot be told from",
    }[one["verdict"]]
    kept = "" if one["is_feasible"] else ", but breaks a limit"
    return (
        f"{one['case']} (ratio {one['latency_ratio']:.3f}) {verdict} its fastest member alone, "
        f"{one['member']} ({one['member_latency_ratio']:.3f}){kept}."
    )


def evaluate(view: UnitOfWork, experiment: ExperimentRow) -> list[dict[str, Any]]:
    """Evaluate each of an experiment's studies.

    Returns:
        One entry a baseline and device: `study`, `model`, `dataset`, `device`, `constraints`,
        `baseline` (its figures on the device, null before they are measured), `trials`
        (rows of the results), `combined` (of a combination: each case beside the fastest of its
        members in the sweep) and `analysis`.
    """
    results = read_results(view, experiment)
    found = []
    for study in view.experiments.studies_of(experiment.id):
        baseline = view.baselines.of(study)
        trials = [row for row in results.trials if row["study"] == study.id]
        ids = {row["trial"] for row in trials}
        layers = [row for row in results.layers if row["trial"] in ids]
        measured = study.baseline_measurement
        analysis = analyse(trials, layers)
        if experiment.stage == "verify":
            analysis["conclusions"] = list(_survived(trials))
        combined = _combined(view, experiment, study, trials)
        analysis["conclusions"] += [_said(one) for one in combined]
        found.append(
            {
                "study": study.id,
                "model": baseline.model,
                "dataset": baseline.dataset,
                "device": study.spec["device"],
                "constraints": study.spec["constraints"],
                "baseline": None if measured is None else dict(measured),
                "trials": trials,
                "combined": combined,
                "analysis": analysis,
            }
        )
    return found
