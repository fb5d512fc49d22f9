"""Trials whose schedule is given: the cases of an experiment, and what every trial starts with.

Depends on: the store. The driver hands them out as it does an optimizer's proposals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_service import outcomes
from stillhouse_service.ids import new_id, trial_seed
from stillhouse_service.states import TrialState, is_final
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import StudyRow, TrialRow

ORIGIN = "listed"
FINALIZE = "finalize"  # the one stage of an experiment that ends on the test split


def cases_of(work: UnitOfWork, study: StudyRow) -> list[dict[str, Any]]:
    """Give the cases that a study runs, in the order of their trials' numbers."""
    assert study.experiment_id is not None
    cases = work.experiments.named(study.experiment_id).cases
    return list(cases[work.baselines.of(study).id])


def has_winner(work: UnitOfWork, study: StudyRow) -> bool:
    """Tell whether a study ends with its best trial measured again and on the test split.

    A search does. An experiment compares its trials: all on the validation split, each as often as
    the others.
    """
    if study.experiment_id is None:
        return True
    return work.experiments.named(study.experiment_id).stage == FINALIZE


def start_case(
    work: UnitOfWork, study: StudyRow, number: int, case: Mapping[str, Any], who: str
) -> TrialRow:
    """Add the trial of a case and its first stage."""
    trial = new_trial(work, study, number, {"case": case["name"]}, ORIGIN, who)
    compress(work, study, trial, case["schedule"], case["training"])
    return trial


def new_trial(
    work: UnitOfWork,
    study: StudyRow,
    number: int,
    config: Mapping[str, Any],
    origin: str,
    who: str,
    unknown: str = "",
) -> TrialRow:
    """Add a trial, its stages still to come; `unknown` goes into the log behind its origin."""
    trial = TrialRow(
        id=new_id("trl"),
        study_id=study.id,
        number=number,
        state=TrialState.QUEUED,
        config=dict(config),
        origin=origin,
        prediction={},
        seed=trial_seed(int(study.spec["seed"]), number),
        metrics=None,
        is_feasible=None,
        violations={},
        failure=None,
        progress={},
        artifacts={},
        details={},
        created_at=work.now,
        started_at=None,
        finished_at=None,
    )
    work.trials.add(trial)
    work.created(trial, who, reason=f"{origin}{unknown}")
    return trial


def ended_since(work: UnitOfWork, trial_ids: Sequence[str]) -> str:
    """Say which trials, open when a proposal was asked for, have ended before it was written down.

    So that every config can be found again from the log: what it follows from is what is told
    above it, but for these.
    """
    ended = [work.trials.named(one) for one in trial_ids]
    numbers = [str(trial.number) for trial in ended if is_final(trial.state)]
    return f", proposed before the end of trial {', '.join(numbers)} was known" if numbers else ""


def compress(
    work: UnitOfWork,
    study: StudyRow,
    trial: TrialRow,
    schedule: Mapping[str, Any],
    training: Mapping[str, Any],
) -> None:
    """Have compute run a trial's schedule."""
    order = order_of(work, study, trial, schedule, training)
    outcomes.new_stage(work, "compress", order=order, trial=trial)


def order_of(
    work: UnitOfWork,
    study: StudyRow,
    trial: TrialRow,
    schedule: Mapping[str, Any],
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Write down what compute needs to run a trial's schedule."""
    baseline = work.baselines.of(study)
    return {
        "model": baseline.model,
        "dataset": baseline.dataset,
        "weights": baseline.artifacts["weights"],
        "schedule": dict(schedule),
        "training": dict(training),
        "seed": trial.seed,
        "engine": study.spec["engine"],
        "resources": study.spec.get("resources", {}),
    }
