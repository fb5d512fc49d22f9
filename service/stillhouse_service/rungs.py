"""Successive halving: configs are trained a little, and the best of them further.

A rung is a number of recovery epochs, and of images to be judged on. Every training of a config at
a rung is a trial of its own, so all of it lives with the trials: who goes on is decided from stored
rows, inside the transaction that starts the next training. A trial of a low rung ends as `stopped`,
with what was measured of it; only one of the top rung is `complete`, and can be the best.

Depends on: the store, stillhouse_optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_optimizer.halving import Climber, highest, lifted, promotable, status_of_low
from stillhouse_optimizer.spec import Observation, Problem
from stillhouse_service import fidelity, incumbents, listed, outcomes
from stillhouse_service.repositories.trials import TWIN
from stillhouse_service.states import TrialState, is_final
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import StudyRow, TrialRow

ORIGIN = "promoted"
CHECKPOINT = "checkpoint"  # among a low rung's artifacts
# Learning rates that do not look at the end of the training: it can be taken up again.
_OPEN_ENDED = ("constant", "step")


def first(study: StudyRow, trial: TrialRow, order: Mapping[str, Any]) -> dict[str, Any]:
    """Make a new trial's order that of the lowest rung; as it is where there are no rungs."""
    if fidelity.epochs_of(study.spec) is None:
        return dict(order)
    trial.rung = 0
    return fidelity.at(study.spec, 0, order)


def promote(work: UnitOfWork, study: StudyRow, n: int, is_last: bool, who: str) -> int:
    """Start the next training of those that go on.

    Args:
        work: The transaction; who goes on is decided from what it sees.
        study: One with rungs.
        n: At most so many.
        is_last: Whether no more configs will be started and nothing is under way.
        who: For the log.

    Returns:
        How many were started.
    """
    problem = incumbents.problem_of(study)
    rule = study.spec["fidelity"]
    n_rungs, eta = len(rule["recovery_epochs"]), int(rule["reduction"])
    for n_started in range(n):
        trials = work.trials.rungs_of(study.id)
        key = promotable(problem, climbers(trials), n_rungs, eta, is_last and not n_started)
        if key is None:
            return n_started
        _start(work, study, work.trials.detailed(key), who)
    return n


def all_failed(work: UnitOfWork, study: StudyRow) -> str | None:
    """Say that a rung came to nothing, where the study ends without a best; none: it did not."""
    trials = work.trials.rungs_of(study.id)
    top = len(study.spec["fidelity"]["recovery_epochs"]) - 1
    found = []
    for rung in sorted({int(t.rung) for t in trials if t.rung is not None}):
        of_rung = [t for t in trials if t.rung == rung]
        if all(t.state in (TrialState.FAILED, TrialState.UNSUPPORTED) for t in of_rung):
            end = "came through" if rung == top else "went on"
            found.append(f"all {len(of_rung)} trials of rung {rung} failed, so none {end}")
    return "; ".join(found) or None


def history(
    problem: Problem, spec: Mapping[str, Any], trials: Sequence[TrialRow]
) -> list[Observation]:
    """Show told trials to the optimizer, by number.

    Without twins, whose results are there once already. Of a config that has climbed rungs the
    highest, its accuracy moved to where the top rung is expected to have it.
    """
    own = [trial for trial in trials if trial.origin != TWIN]
    epochs = fidelity.epochs_of(spec)
    if epochs is None:
        return [incumbents.observed(trial) for trial in own]
    known = climbers([trial for trial in own if trial.rung is not None])
    climbed = {one.key: one for one in highest(lifted(problem, known, len(epochs)))}
    top, low = len(epochs) - 1, status_of_low(known, len(epochs))
    shown = []
    for trial in own:
        if trial.rung is None:
            shown.append(incumbents.observed(trial))
        elif (one := climbed.get(trial.id)) is not None:
            shown.append(
                incumbents.observed(trial)
                if one.metrics is None
                else Observation(trial.config, one.metrics, "complete" if one.rung == top else low)
            )
    return shown


def climbers(trials: Sequence[TrialRow]) -> list[Climber]:
    """Show trials of rungs to the rule, in the order of their numbers."""
    return [
        Climber(
            key=trial.id,
            rung=int(trial.rung or 0),
            metrics=_measured(trial),
            is_open=not is_final(trial.state),
            came_from=trial.promoted_from,
        )
        for trial in trials
    ]


def _measured(trial: TrialRow) -> Mapping[str, float] | None:
    """A trial's metrics, if it went to the end of its rung."""
    is_low = trial.state == TrialState.STOPPED and trial.progress.get("by") == "rung"
    return trial.metrics if is_low or trial.state == TrialState.COMPLETE else None


def _start(work: UnitOfWork, study: StudyRow, below: TrialRow, who: str) -> None:
    rung = int(below.rung or 0) + 1
    trial = listed.new_trial(
        work, study, work.trials.n_of(study.id), below.config, ORIGIN, who, f" from {below.number}"
    )
    trial.rung, trial.promoted_from = rung, below.id
    # The same images in the same order: the training goes on as one that was never interrupted.
    trial.seed = below.seed
    details: Mapping[str, Any] = below.details
    order = listed.order_of(work, study, trial, details["schedule"], details["training"])
    order = fidelity.at(study.spec, rung, order)
    goes_on = order["training"].get("lr_schedule", "cosine") in _OPEN_ENDED
    # A rung that only judges on more images has no epoch left to train.
    goes_on = goes_on or order["training"] == details["training"]
    if goes_on and CHECKPOINT in below.artifacts:
        order[CHECKPOINT] = below.artifacts[CHECKPOINT]
        reason = f"goes on where trial {below.number} ended"
    elif goes_on:
        reason = f"trained anew: trial {below.number} has left no checkpoint"
    else:
        reason = "trained anew: its learning rate depends on the length of the training"
    work.note(trial, who, kind="rung", reason=reason)
    outcomes.new_stage(work, "compress", order=order, trial=trial)
