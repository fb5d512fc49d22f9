"""Trials of an earlier study of the same space, for a new one to learn from.

Depends on: the store. What was measured elsewhere tells the optimizer where to look; it is never
judged here, so that no incumbent comes of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_optimizer.spec import Constraint
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.ids import new_id, trial_seed
from stillhouse_service.repositories.trials import FOREIGN
from stillhouse_service.states import TrialState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import StudyRow, TrialRow

_SPACE = ("kind", "low", "high", "log", "step", "choices", "condition")


def check(view: UnitOfWork, earlier: Sequence[str], search: Mapping[str, Any]) -> None:
    """Make sure that earlier studies are there and have the same space.

    Raises:
        SpecRejected: One has not, with what differs.
    """
    problems = []
    for i, study_id in enumerate(earlier):
        path = f"warm_start[{i}]"
        study = view.studies.find(study_id)
        if study is None:
            problems.append(Problem(path, f"no study {study_id!r}"))
        elif study_id in earlier[:i]:
            problems.append(Problem(path, f"{study_id} stands twice"))
        elif found := differences(study.problem, search):
            message = f"{study_id} has another space: {'; '.join(found)}"
            problems.append(Problem(path, message))
    if problems:
        raise SpecRejected(problems)


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Say in which parameters two spaces differ; defaults do not count."""
    theirs = {p["name"]: p for p in there["parameters"]}
    ours = {p["name"]: p for p in here["parameters"]}
    found = [f"{name} is only there" for name in theirs if name not in ours]
    found += [f"{name} is only here" for name in ours if name not in theirs]
    for name in theirs:
        if name not in ours:
            continue
        one, other = theirs[name], ours[name]
        found += [
            f"{name}.{member} is {one.get(member)!r} there and {other.get(member)!r} here"
            for member in _SPACE
            if (one.get(member) or None) != (other.get(member) or None)
        ]
    if not found and (there.get("forbidden") or []) != (here.get("forbidden") or []):
        found.append("other combinations are forbidden there")
    return found


def bring(work: UnitOfWork, study: StudyRow, earlier_id: str) -> None:
    """Add the trials of an earlier study that say something about this one's metrics."""
    earlier = work.studies.named(earlier_id)
    wanted = wanted_metrics(study)
    n_left_out = n_brought = 0
    number = work.trials.n_of(study.id)
    for trial in work.trials.own_of(earlier_id):
        if trial.state == TrialState.STOPPED and trial.progress.get("by") == "rung":
            continue  # its accuracy is that of a short training
        is_complete = trial.state == TrialState.COMPLETE
        if is_complete and not has_all(trial.metrics or {}, wanted):
            n_left_out += 1
            continue
        work.trials.add(
            brought(work, study, number + n_brought, trial.config, trial.metrics, FOREIGN, trial)
        )
        n_brought += 1
    reason = f"{n_brought} trials of {earlier_id}"
    if n_left_out:
        reason += f"; {n_left_out} left out, which do not have {' and '.join(wanted)}"
    for name, ours, theirs in (
        ("baseline", study.baseline_id, earlier.baseline_id),
        ("device", study.spec["device"], earlier.spec["device"]),
    ):
        if ours != theirs:
            reason += f"; its {name} was {theirs}"
    work.note(study, work.user, kind="warm-start", reason=reason)


def wanted_metrics(study: StudyRow) -> list[str]:
    """Name the metrics that a trial must have to be learnt from: each objective, each limited."""
    limited = [Constraint.parse(text).metric for text in study.spec["constraints"]]
    return list(dict.fromkeys([*study.spec["objectives"], *limited]))


def has_all(metrics: Mapping[str, Any], wanted: Sequence[str]) -> bool:
    """Tell whether metrics hold a usable value of each wanted one."""
    values = [metrics.get(name) for name in wanted]
    return all(isinstance(v, int | float) and math.isfinite(v) for v in values)


def brought(
    work: UnitOfWork,
    study: StudyRow,
    number: int,
    config: Mapping[str, Any],
    metrics: Mapping[str, Any] | None,
    origin: str,
    like: TrialRow | None = None,
) -> TrialRow:
    """Make the row of a trial that this study did not start; `like` says how it ended."""
    return TrialRow(
        id=new_id("trl"),
        study_id=study.id,
        number=number,
        state=TrialState.COMPLETE if like is None else like.state,
        config=dict(config),
        origin=origin,
        prediction={},
        seed=trial_seed(int(study.spec["seed"]), number),
        metrics=None if metrics is None else dict(metrics),
        is_feasible=None,
        violations={},
        failure=None if like is None else like.failure,
        progress={},
        artifacts={},
        details={} if like is None else {"from": like.id},
        created_at=work.now,
        started_at=None,
        finished_at=work.now,
    )
