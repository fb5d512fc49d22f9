"""A study as its page draws it, without reading all of its trials.

Depends on: the store. Everything here is bounded: up to `_N_ALL` trials each is a point, of more
every so manieth, so that what is drawn hardly changes as a study grows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_optimizer.feasibility import is_certain
from stillhouse_optimizer.spec import Constraint
from stillhouse_service import failures
from stillhouse_service.objectives import constraints_of
from stillhouse_service.repositories.overview import PointRow
from stillhouse_service.repositories.trials import FOREIGN
from stillhouse_service.schemas import overview as shapes
from stillhouse_service.states import TrialState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import StudyRow, TrialRow

_N_ALL = 500  # so many trials are all drawn
_N_THINNED, _N_LAST = 350, 100  # of more: at most so many, and the last ones
_N_BEST = 50
_N_LINES = 120
_N_FAILURES = 300
_N_OPEN = 64
_REASON = 400  # characters of a failure's reason


def study_view(view: UnitOfWork, study: StudyRow) -> shapes.StudyView:
    """Draw a study."""
    objective = str(study.spec["objectives"][0])
    limits, bounds = _limits(study)
    limited = limits[0].metric if limits else "top1_drop" if study.baseline_id else None
    n_trials = view.trials.n_of(study.id)
    stride = _stride(n_trials)
    best = view.overview.incumbents_of(study.id, _N_BEST)[::-1]
    rows = [
        row
        for row in view.overview.points(study.id, _numbers(n_trials, stride), best)
        if row.origin != FOREIGN
    ]
    counts = view.trials.counts_of(study.id)
    n_failed = counts[TrialState.FAILED] + counts[TrialState.UNSUPPORTED]
    failed = view.overview.failed_of(study.id, _N_FAILURES, n_failed) if n_failed else []
    opened = view.overview.open_of(study.id, _N_OPEN)
    return shapes.StudyView(
        objective=objective,
        limited=limited,
        limits=limits,
        last_event=view.overview.last_event_of(study.id),
        n_trials=n_trials,
        stride=stride,
        points=[_point(row, objective, limited, bounds) for row in rows],
        best=list(dict.fromkeys(best)),
        lines=_lines(view, rows, objective, set(best)),
        n_failed=n_failed,
        n_failures_read=len(failed),
        causes=_causes(view, failed),
        open=[
            shapes.OpenTrial(
                id=row.id,
                number=row.number,
                state=row.state,
                progress={k: v for k, v in row.progress.items() if k != "log"},
                started_at=row.started_at,
            )
            for row in opened
        ],
    )


def _stride(n_trials: int) -> int:
    """Choose every how manieth trial is drawn: a power of two, so that few choices change."""
    if n_trials <= _N_ALL:
        return 1
    return int(2 ** math.ceil(math.log2(n_trials / _N_THINNED)))


def _numbers(n_trials: int, stride: int) -> list[int]:
    if stride == 1:
        return list(range(n_trials))
    return sorted({*range(0, n_trials, stride), *range(max(0, n_trials - _N_LAST), n_trials)})


def _limits(study: StudyRow) -> tuple[list[shapes.Limit], Sequence[Constraint]]:
    """Give the limits to show, and those that trials are held against: none before the check."""
    measured: Mapping[str, float] | None = study.baseline_measurement
    if measured is not None or study.baseline_id is None:
        found = constraints_of(study.spec, measured)
        return [shapes.Limit(metric=c.metric, op=c.op, bound=c.bound) for c in found], found
    parsed = [Constraint.parse(text) for text in study.spec["constraints"]]
    shown = [
        shapes.Limit(metric=c.metric, op=c.op, bound=None if c.is_relative else c.bound)
        for c in parsed
    ]
    return shown, ()


def _point(
    row: PointRow, objective: str, limited: str | None, bounds: Sequence[Constraint]
) -> shapes.Point:
    metrics: Mapping[str, Any] = row.metrics or {}
    is_told = row.state == TrialState.COMPLETE
    return shapes.Point(
        id=row.id,
        number=row.number,
        state=row.state,
        is_feasible=row.is_feasible,
        is_certain=bool(row.is_feasible) and is_certain(metrics, bounds),
        value=metrics.get(objective) if is_told else None,
        low=metrics.get(f"{objective}_low") if is_told else None,
        high=metrics.get(f"{objective}_high") if is_told else None,
        limited=metrics.get(limited) if is_told and limited else None,
    )


def _lines(
    view: UnitOfWork, rows: Sequence[PointRow], objective: str, best: set[str]
) -> list[shapes.Line]:
    """Choose trials evenly by their objective, those that were the best among them."""
    complete = [row for row in rows if row.state == TrialState.COMPLETE]
    values = [(row.metrics or {}).get(objective) for row in complete]
    told = [(float(v), row) for v, row in zip(values, complete, strict=True) if v is not None]
    told.sort(key=lambda one: one[0])
    step = max(1, math.ceil(len(told) / _N_LINES))
    chosen = [one for i, one in enumerate(told) if i % step == 0 or one[1].id in best]
    configs = view.overview.configs_of([row.id for _, row in chosen])
    return [
        shapes.Line(
            id=row.id,
            number=row.number,
            is_feasible=row.is_feasible,
            value=value,
            config=configs[row.id],
        )
        for value, row in chosen
    ]


def _causes(view: UnitOfWork, failed: Sequence[TrialRow]) -> list[shapes.Cause]:
    groups: dict[tuple[str, str], list[TrialRow]] = {}
    for row in failed:
        failure: Mapping[str, Any] = row.failure or {}
        cause = str(failure.get("stage", "?")), str(failure.get("class", row.state))
        groups.setdefault(cause, []).append(row)
    causes = []
    for (stage, failure_class), rows in sorted(groups.items(), key=lambda one: -len(one[1])):
        last = rows[0]
        blamed = view.stages.failed_of(last.id)
        advice = failures.policy_of(blamed.lane, failure_class).advice if blamed else ""
        causes.append(
            shapes.Cause(
                stage=stage,
                failure_class=failure_class,
                n=len(rows),
                trial_id=last.id,
                number=last.number,
                reason=str((last.failure or {}).get("reason", "no reason was kept"))[:_REASON],
                advice=advice,
            )
        )
    return causes
