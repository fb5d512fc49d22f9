"""Asynchronous successive halving: which trial of a low rung goes on to the next one.

Every config is first trained a little (rung 0); of those that ended at a rung the best share goes
on to the next, as soon as there is room, without waiting for the others. The best are those of
which most is hoped for at the top: what they save there, times the probability of keeping the
limits there. Pure: results in, choice out.

Depends on: feasibility, growth.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2; the
order among a rung's trials, and what becomes of the place of one that disappoints, are our own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from stillhouse_optimizer.feasibility import COUNTED, is_feasible
from stillhouse_optimizer.growth import Growth
from stillhouse_optimizer.spec import Constraint, Problem, is_maximised

Metrics = Mapping[str, float]
# With so many trials of the top rung the models tell what keeps the limits by these alone.
_FEWEST_AT_TOP = 3


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

    The highest rung first. Of rung 0 at most one in ``eta`` ever goes on, so that the most that a
    study can cost is known before. Above, one in ``eta`` holds a place at a time: that of a config
    that came to nothing further up is the next best's. Nobody goes on who is no better than one
    that keeps the limits at the top. Failed trials count among those that ended and never go on.

    Args:
        problem: Objective and limits.
        climbers: Every training of the study, in the order of their numbers.
        n_rungs: Rungs in all; nobody goes on from the last one.
        eta: One in so many goes on, at least 2.
        is_last: Whether no more configs will come and nothing is under way: then somebody goes on
            as long as nobody at the top keeps the limits and somebody below is likely to.

    Returns:
        The key of the trial that goes on; None: nobody does (now).
    """
    hopes = _Hopes(problem, climbers, n_rungs)
    for rung in range(n_rungs - 2, -1, -1):
        ended = [one for one in climbers if one.rung == rung and not one.is_open]
        ranked = sorted(ended, key=lambda one: -hopes.saving(one))
        n_places = len(ended) // eta
        n_gone = sum(one.key in hopes.gone for one in ended)
        # All that ended may be looked at for one of the places that were never taken.
        n_seen = n_places if rung > 0 else len(ended) if n_gone < n_places else 0
        for one in ranked[:n_seen]:
            if one.key not in hopes.gone and hopes.saving(one) > 0 and hopes.beats_the_best(one):
                return one.key
    if not is_last or hopes.best is not None:
        return None
    rest = [one for one in climbers if one.rung < n_rungs - 1 and one.key not in hopes.gone]
    rest = [one for one in rest if _has_result(problem, one)]
    if not rest:
        return None
    likeliest = max(rest, key=lambda one: (hopes.chance(one), one.rung))
    return likeliest.key if hopes.chance(likeliest) >= 0.5 or not hopes.n_at_top else None


class _Hopes:
    """What is to be expected of each training's config at the top rung, by all that is known.

    Attributes:
        gone: Keys of those that went on.
        n_at_top: Trials of the top rung with a result.
        best: The best objective among those of them that keep the limits; None: none does.
    """

    def __init__(self, problem: Problem, climbers: Sequence[Climber], n_rungs: int) -> None:
        self._problem, self._top = problem, n_rungs - 1
        self._sign = -1.0 if is_maximised(problem.objective) else 1.0
        self._above = {one.came_from: one for one in climbers if one.came_from is not None}
        self.gone = frozenset(self._above)
        self._growth = _growth(problem, climbers, n_rungs)
        results = [one for one in climbers if _has_result(problem, one)]
        self._worst = max((self._objective(one) for one in results), default=0.0)
        top = [one for one in results if one.rung == self._top]
        kept = [self._objective(o) for o in top if is_feasible(o.metrics or {}, self._limits())[0]]
        self.n_at_top, self.best = len(top), min(kept, default=None)

    def saving(self, one: Climber) -> float:
        """How much better than the worst objective its config is expected to be at the top.

        A config that breaks the limits there saves nothing.
        """
        last = self._last(one)
        if not _has_result(self._problem, last):
            return 0.0
        return self.chance(one) * max(self._worst - self._objective(last), 0.0)

    def chance(self, one: Climber) -> float:
        """The probability that its config keeps every limit at the top."""
        last = self._last(one)
        metrics = last.metrics or {}
        chance = 1.0
        for limit in self._limits():
            value = metrics.get(limit.metric, math.nan)
            growth = self._growth.get(limit.metric)
            if not math.isfinite(value):
                return 0.0
            if last.rung == self._top or growth is None:
                chance *= limit.is_met(value)
                continue
            mean, sd = growth.at_top(value, last.rung)
            miss = mean - limit.bound if limit.is_upper else limit.bound - mean
            chance *= 0.5 * math.erfc(miss / (sd * math.sqrt(2.0)))
        return chance

    def beats_the_best(self, one: Climber) -> bool:
        """Whether its objective is better than that of all that keep the limits at the top."""
        return self.best is None or self._objective(one) < self.best

    def _last(self, one: Climber) -> Climber:
        """The highest training of its config that tells something: one under way does not yet."""
        while (above := self._above.get(one.key)) is not None and not above.is_open:
            one = above
        return one

    def _objective(self, one: Climber) -> float:
        """To be minimised."""
        metric = self._problem.objective
        value = (one.metrics or {})[metric]
        if one.rung < self._top and metric in self._growth:
            value, _ = self._growth[metric].at_top(value, one.rung)
        return self._sign * value

    def _limits(self) -> Sequence[Constraint]:
        return self._problem.constraints


def lifted(problem: Problem, climbers: Sequence[Climber], n_rungs: int) -> list[Climber]:
    """Move the accuracies of low rungs to where the top rung is expected to have them.

    Ends of their intervals are left out: they say what a rung's images can tell, not what the top
    will have.
    """
    growth = _growth(problem, climbers, n_rungs)
    found = []
    for one in climbers:
        if one.metrics is None or one.rung == n_rungs - 1:
            found.append(one)
            continue
        metrics = dict(one.metrics)
        for metric, line in growth.items():
            for end in (f"{metric}_low", f"{metric}_high"):
                metrics.pop(end, None)
            if metric in metrics:
                metrics[metric], _ = line.at_top(metrics[metric], one.rung)
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


def status_of_low(climbers: Sequence[Climber], n_rungs: int) -> Literal["complete", "stopped"]:
    """Say as what a result of a low rung is shown to the optimizer.

    The models learn from what is expected of it, but it is no trial that has kept the limits: none
    that the next one must beat. Only until a few have come to the top it stands for one, as there
    is nothing else.
    """
    n_at_top = sum(one.rung == n_rungs - 1 and one.metrics is not None for one in climbers)
    return "complete" if n_at_top < _FEWEST_AT_TOP else "stopped"


def _growth(problem: Problem, climbers: Sequence[Climber], n_rungs: int) -> dict[str, Growth]:
    """Of each accuracy that counts."""
    wanted = dict.fromkeys([problem.objective, *(c.metric for c in problem.constraints)])
    by_key = {one.key: one for one in climbers}
    found = {}
    for metric in wanted:
        if metric not in COUNTED:
            continue
        values: list[list[float]] = [[] for _ in range(n_rungs - 1)]
        steps: list[list[tuple[float, float]]] = [[] for _ in range(n_rungs - 1)]
        for one in climbers:
            after = _value(one, metric)
            if after is None:
                continue
            if one.rung < n_rungs - 1:
                values[one.rung].append(after)
            below = by_key.get(one.came_from or "")
            before = None if below is None else _value(below, metric)
            if before is not None:
                steps[one.rung - 1].append((before, after))
        found[metric] = Growth(values, steps, is_maximised(metric))
    return found


def _value(one: Climber, metric: str) -> float | None:
    value = (one.metrics or {}).get(metric, math.nan)
    return value if math.isfinite(value) and not one.is_open else None


def _has_result(problem: Problem, one: Climber) -> bool:
    value = (one.metrics or {}).get(problem.objective, math.nan)
    return not one.is_open and math.isfinite(value)
