"""Asynchronous successive halving: which trial of a low rung goes on to the next one.

Every config is first trained a little (rung 0); of those that ended at a rung the best share goes
on to the next, as soon as there is room, without waiting for the others. Pure: results in, choice
out.

Depends on: feasibility.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stillhouse_optimizer.feasibility import COUNTED, is_feasible
from stillhouse_optimizer.spec import Problem, is_maximised

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Climber:
    """One training of a config at a rung.

    Attributes:
        key: The trial's.
        rung: 0, 1, ...
        metrics: What was measured; None where it failed or has not ended.
        is_open: Whether it has not ended.
        came_from: Key of the trial at the rung below; None at rung 0.
    """

    key: str
    rung: int
    metrics: Metrics | None
    is_open: bool = False
    came_from: str | None = None


def promotable(
    problem: Problem, climbers: Sequence[Climber], n_rungs: int, eta: int, is_last: bool = False
) -> str | None:
    """Choose who goes on to the next rung.

    Of the highest rung first: among the best ``1 / eta`` of those that ended there (failed ones
    count, but never go on) the best that has not gone on yet. The best keep the limits and have the
    best objective; of the others those that miss the limits by the least.

    Args:
        problem: Objective and limits.
        climbers: Every training of the study, in the order of their numbers.
        n_rungs: Rungs in all; nobody goes on from the last one.
        eta: One in so many goes on, at least 2.
        is_last: Whether no more configs will come and nothing is under way: then somebody goes on
            as long as nobody at the top keeps the limits and somebody below might.

    Returns:
        The key of the trial that goes on; None: nobody does (now).
    """
    known = lifted(problem, climbers, n_rungs)
    gone = {one.came_from for one in climbers}
    for rung in range(n_rungs - 2, -1, -1):
        ended = [one for one in known if one.rung == rung and not one.is_open]
        ranked = _ranked(problem, ended)
        for one in ranked[: len(ended) // eta]:
            if one.key not in gone:
                return one.key
    if not is_last:
        return None
    top = [one for one in known if one.rung == n_rungs - 1 and one.metrics is not None]
    if any(_keeps(problem, one) for one in top):
        return None
    for rung in range(n_rungs - 2, -1, -1):
        rest = [one for one in known if one.rung == rung and one.key not in gone]
        ranked = _ranked(problem, rest)
        if ranked and (_keeps(problem, ranked[0]) or not top):
            return ranked[0].key
    return None


def lifted(problem: Problem, climbers: Sequence[Climber], n_rungs: int) -> list[Climber]:
    """Move the accuracies of low rungs to where the top rung would have them.

    By the median of what those that went on gained from rung to rung; nothing is moved where
    nobody has gone on yet.
    """
    by_key = {one.key: one for one in climbers}
    counted = [c.metric for c in problem.constraints if c.metric in COUNTED]
    counted += [problem.objective] if problem.objective in COUNTED else []
    gains = [
        {metric: _gain(metric, rung, climbers, by_key) for metric in counted}
        for rung in range(n_rungs - 1)
    ]
    found = []
    for one in climbers:
        metrics = dict(one.metrics) if one.metrics is not None else None
        for of_rung in gains[one.rung :] if metrics is not None else ():
            assert metrics is not None
            for metric, gain in of_rung.items():
                for name in (metric, f"{metric}_low", f"{metric}_high"):
                    if name in metrics:
                        metrics[name] += gain
        found.append(replace(one, metrics=metrics))
    return found


def highest(climbers: Sequence[Climber]) -> list[Climber]:
    """Of each config the highest training that has ended, in the order of the rung-0 trainings."""
    above = {
        one.came_from: one for one in climbers if one.came_from and one.metrics and not one.is_open
    }
    found = []
    for one in climbers:
        if one.came_from is not None or one.is_open:
            continue
        while one.key in above:
            one = above[one.key]
        found.append(one)
    return found


def _gain(
    metric: str, rung: int, climbers: Sequence[Climber], by_key: Mapping[str, Climber]
) -> float:
    gains = []
    for one in climbers:
        below = by_key.get(one.came_from or "")
        if below is None or below.rung != rung or not one.metrics or not below.metrics:
            continue
        if metric in one.metrics and metric in below.metrics:
            gains.append(one.metrics[metric] - below.metrics[metric])
    return statistics.median(gains) if gains else 0.0


def _ranked(problem: Problem, climbers: Sequence[Climber]) -> list[Climber]:
    """The best first; without those that have no result."""
    sign = -1.0 if is_maximised(problem.objective) else 1.0
    scales = {c.metric: abs(c.bound) or 1.0 for c in problem.constraints}

    def rank(one: Climber) -> tuple[float, float]:
        metrics = one.metrics or {}
        _, violations = is_feasible(metrics, problem.constraints)
        # A strict limit that is met exactly is missed by nothing, and missed all the same.
        missed = sum(
            math.inf if v is None else v / scales[metric] + 1e-12
            for metric, v in violations.items()
        )
        return missed, sign * metrics[problem.objective]

    return sorted((one for one in climbers if _has_result(problem, one)), key=rank)


def _has_result(problem: Problem, one: Climber) -> bool:
    value = (one.metrics or {}).get(problem.objective, math.nan)
    return not one.is_open and math.isfinite(value)


def _keeps(problem: Problem, one: Climber) -> bool:
    return _has_result(problem, one) and is_feasible(one.metrics or {}, problem.constraints)[0]
