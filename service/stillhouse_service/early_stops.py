"""Trainings that end early because their validation curve makes the limit unreachable.

The rule is compression's (`early_stop.py`) and runs where the training does; what it needs goes
with the order: the accuracy that is wanted and the curves of earlier trials. What comes back ends
the trial as `stopped`: infeasible, with the most that it could have reached.

Depends on: the store, stillhouse_optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_optimizer.spec import Constraint
from stillhouse_service import probes
from stillhouse_service.objectives import constraints_of
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import BaselineRow, StageRow, StudyRow

_N_CURVES = 40  # of the newest trials


def order_of(work: UnitOfWork, study: StudyRow) -> dict[str, Any]:
    """Give what a compression's order needs besides; nothing where trainings are not ended early.

    It is written down with the order: a training that is handed out again is judged alike.
    """
    mode = study.spec.get("early_stop", "off")
    if mode == "off":
        return {}
    baseline = work.baselines.of(study)
    wanted = [
        top1
        for limit in constraints_of(study.spec, study.baseline_measurement)
        if (top1 := wanted_top1(limit, baseline)) is not None
    ]
    if not wanted:
        return {}
    curves = work.trials.curves_of(study.id, _N_CURVES)
    return {"early_stop": {"mode": mode, "top1": max(wanted), "curves": curves}}


def wanted_top1(limit: Constraint, baseline: BaselineRow) -> float | None:
    """Say which validation accuracy a limit asks for; none: it is no lower limit on accuracy."""
    if limit.metric == "top1" and not limit.is_upper:
        return limit.bound
    if limit.metric == "top1_drop" and limit.is_upper:
        return float(baseline.metrics["validation_top1"]) - limit.bound
    return None


def stopped(work: UnitOfWork, stage: StageRow, found: Mapping[str, Any]) -> None:
    """A training was ended early: its trial is over, with what is known of it."""
    assert stage.trial_id is not None
    trial = work.trials.named(stage.trial_id)
    study = work.studies.named(trial.study_id)
    baseline = work.baselines.of(study)
    history, reachable = list(found["history"]), float(found["reachable"])
    trial.details = {
        **trial.details,
        "history": history,
        "schedule": stage.order["schedule"],
        "training": stage.order["training"],
    }
    probe = trial.details.get("probe") or {"metrics": {}}
    trial.metrics = {
        **(trial.metrics or {}),
        **probe["metrics"],
        "validation_top1": float(history[-1]["validation_top1"]),
        "top1_high": reachable,
        "top1_drop_low": float(baseline.metrics["validation_top1"]) - reachable,
    }
    trial.is_feasible = False
    trial.violations = {
        limit.metric: max(0.0, top1 - reachable)
        for limit in constraints_of(study.spec, study.baseline_measurement)
        if (top1 := wanted_top1(limit, baseline)) is not None and reachable < top1
    }
    about = {"epoch": len(history), "epochs": int(found["n_epochs"])}
    reason = f"ended early: {found['reason']}"
    probes.stop(work, trial, "early_stop", reason, float(found["saved_s"]), **about)
