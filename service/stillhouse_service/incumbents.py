"""A study's best trial: chosen with the noise of measurements in mind, measured again, announced.

Depends on: the store, stillhouse_optimizer. Called inside the transaction that needs the choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from stillhouse_optimizer.feasibility import is_certain, is_feasible
from stillhouse_optimizer.incumbent import incumbent
from stillhouse_optimizer.spec import Observation, Problem
from stillhouse_service.checks import search_problem
from stillhouse_service.objectives import constraints_of
from stillhouse_service.states import StageState, TrialState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import StudyRow, TrialRow

CONFIRM = "confirm"  # kind of the stage, and purpose of the measurement
# The best of many noisy latencies is lucky more often than good. Measured again it may fall behind
# the next; more than so many are not measured again before one is announced.
_MOST_CONFIRMED = 3
_BEST_ENDS = {"top1": "top1_high", "top5": "top5_high", "top1_drop": "top1_drop_low"}
N_MEASUREMENTS = "n_measurements"  # among a trial's metrics, once it was measured again


def observed(trial: TrialRow) -> Observation:
    """Show a told trial to the optimizer."""
    status = cast(Literal["complete", "failed", "unsupported", "stopped"], trial.state.value)
    metrics: dict[str, Any] | None = None
    if trial.state == TrialState.COMPLETE:
        metrics = trial.metrics
    elif trial.state == TrialState.STOPPED:
        # Of an accuracy that was not measured the most that it could have been.
        known = trial.metrics or {}
        ends = {name: known[end] for name, end in _BEST_ENDS.items() if end in known}
        metrics = {**ends, **known}
    return Observation(config=trial.config, metrics=metrics, status=status)


def problem_of(study: StudyRow) -> Problem:
    """Show a study whose baseline the device has measured to the optimizer."""
    measured = study.baseline_measurement or {}
    return Problem.from_mapping(search_problem(study.spec, study.problem, measured))


def judge(study: StudyRow, trial: TrialRow) -> None:
    """Hold a trial's measured values against the study's limits."""
    constraints = constraints_of(study.spec, study.baseline_measurement)
    trial.is_feasible, trial.violations = is_feasible(trial.metrics or {}, constraints)


def holds_for_certain(study: StudyRow, trial: TrialRow) -> bool:
    """Tell whether the unfavourable ends of a trial's intervals meet the limits too."""
    constraints = constraints_of(study.spec, study.baseline_measurement)
    return is_certain(trial.metrics or {}, constraints)


def is_confirmed(trial: TrialRow) -> bool:
    """Tell whether a trial's latency was measured again."""
    return int((trial.metrics or {}).get(N_MEASUREMENTS, 1)) > 1


def compare(work: UnitOfWork, study: StudyRow, trial: TrialRow, who: str) -> None:
    """Let a trial that is complete take the incumbent's place, if it is the better one."""
    before = work.trials.find(study.incumbent_id) if study.incumbent_id else None
    rivals = [trial] if before is None else [before, trial]
    _appoint(work, study, best_of(study, rivals), who)


def to_confirm(work: UnitOfWork, study: StudyRow, who: str) -> TrialRow | None:
    """Choose the incumbent of all trials; give it when its latency must be measured again first.

    A trial that could not be measured again gives way to one that was.
    """
    tried = {stage.trial_id: stage.state for stage in work.stages.of_study(study.id, CONFIRM)}
    feasible = work.trials.feasible_of(study.id)
    if len(tried) >= _MOST_CONFIRMED:
        confirmed = [t for t in feasible if is_confirmed(t)]
        _appoint(work, study, best_of(study, confirmed or feasible), who)
        return None
    best = best_of(study, [t for t in feasible if tried.get(t.id) != StageState.FAILED])
    _appoint(work, study, best or best_of(study, feasible), who)
    # One whose network was measured again as another trial's has its figures from there.
    return None if best is None or best.id in tried or is_confirmed(best) else best


def best_of(study: StudyRow, trials: Sequence[TrialRow]) -> TrialRow | None:
    """Give the best of some trials; none: no trial meets the limits."""
    found = incumbent(problem_of(study), [observed(trial) for trial in trials])
    return None if found is None else trials[found.index]


def _appoint(work: UnitOfWork, study: StudyRow, best: TrialRow | None, who: str) -> None:
    after = None if best is None else best.id
    if after == study.incumbent_id:
        return
    objective = study.spec["objectives"][0]
    reason = "no trial meets the limits any more"
    if best is not None:
        again = ", measured again" if is_confirmed(best) else ""
        certain = "" if holds_for_certain(study, best) else ", may break the limits"
        reason = f"{objective} {(best.metrics or {})[objective]:g}{again}{certain}"
    work.note(study, who, kind="incumbent", before=study.incumbent_id, after=after, reason=reason)
    study.incumbent_id = after
