"""Which parameters mattered for a metric, which way to turn them, and how sure that is.

Depends on: numpy, scipy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr  # type: ignore[import-untyped]  # scipy has no types

from stillhouse_optimizer.advice import (
    Direction,
    Reading,
    Recommendation,
    read_curve,
    recommend,
    told,
)
from stillhouse_optimizer.basis import Basis, LeftOut, basis_of
from stillhouse_optimizer.errors import OptimizerError
from stillhouse_optimizer.fanova import Decomposition, decompose
from stillhouse_optimizer.grove import Grove, grow
from stillhouse_optimizer.marginal import Curve, Region, curve_of
from stillhouse_optimizer.resampling import intervals, shares_of
from stillhouse_optimizer.space import Space
from stillhouse_optimizer.spec import Observation, Problem, is_maximised

Array = NDArray[np.float64]
Verdict = Literal["enough", "care", "not_enough"]
# Kind of grouping -> group -> names of its parameters; a parameter may be in several.
Groups = Mapping[str, Mapping[str, Sequence[str]]]

# Reasons for these stand in docs/optimiser.md.
_MIN_TRIALS, _MANY_TRIALS = 10, 30
_MIN_R2, _GOOD_R2 = 0.3, 0.6
_N_BEST = 5
_N_GROUP_TREES = 16


@dataclass(frozen=True)
class ParameterImportance:
    """One parameter's share.

    Attributes:
        name: The parameter's.
        importance: Share of the metric's variance over the space that it explains alone, 0..1.
        low: Lower end of the share's 90 % bootstrap interval.
        high: Upper end.
        direction: Which way the metric goes as the parameter rises; ``none`` for a choice.
        strength: How plainly, 0..1.
        recommendation: Values to use, and why.
        rank_correlation: Spearman's, over trials in which it is active; None for a choice or
            without variation.
        active_share: Share of the trials in which it is active.
        active_importance: Share of the variance that it explains alone where it is active; None
            where it always is.
        curve: Its marginal, over the region in which it is active.
    """

    name: str
    importance: float
    low: float
    high: float
    direction: Direction
    strength: float
    recommendation: Recommendation
    rank_correlation: float | None
    active_share: float
    active_importance: float | None
    curve: Curve


@dataclass(frozen=True)
class GroupImportance:
    """What several parameters explain together: alone and with one another.

    Attributes:
        kind: Kind of grouping, such as ``layer``.
        name: The group's.
        parameters: Names of its parameters.
        importance: Share of the metric's variance, 0..1.
        low: Lower end of its 90 % bootstrap interval.
        high: Upper end.
    """

    kind: str
    name: str
    parameters: tuple[str, ...]
    importance: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """The answer for one metric.

    Attributes:
        metric: Its name.
        used: Places in the history of the trials it stands on.
        left_out: All others, by reason.
        r2_oob: Out-of-bag R2 of the forest; None when it cannot be told.
        verdict: ``enough`` data, treat with ``care``, or ``not_enough`` for a ranking.
        explanation: The verdict in a plain sentence.
        parameters: Most important first; empty when there is not enough data.
        pairs: ``(name, name, share)`` of every interaction with one, strongest first; likewise.
        groups: Within each kind the most important first; likewise.
        grove: The forest; None when there is not enough data.
    """

    metric: str
    used: tuple[int, ...]
    left_out: tuple[LeftOut, ...]
    r2_oob: float | None
    verdict: Verdict
    explanation: str
    parameters: tuple[ParameterImportance, ...] = ()
    pairs: tuple[tuple[str, str, float], ...] = ()
    groups: tuple[GroupImportance, ...] = ()
    grove: Grove | None = None

    @property
    def n_trials(self) -> int:
        """Trials it stands on."""
        return len(self.used)

    @property
    def n_left_out(self) -> int:
        """Trials that had no say."""
        return sum(len(one.indices) for one in self.left_out)


def importance(
    problem: Problem,
    history: Sequence[Observation],
    metric: str,
    seed: int,
    n_trees: int = 64,
    groups: Groups | None = None,
    with_intervals: bool = True,
) -> Importance:
    """Say which parameters explain a metric, by exact fANOVA on a forest.

    Args:
        problem: Whose parameters and limits.
        history: Finished trials; failed ones and those without the metric are left out.
        metric: Name of any metric in ``Observation.metrics``.
        seed: Of the forest and of its resamples.
        n_trees: At least 2.
        groups: What to explain together as well; unknown parameters in it are passed over.
        with_intervals: Whether to resample; without, intervals have no width.

    Raises:
        ProblemError: the space makes no sense.
        OptimizerError: fewer than 2 trees.

    Source: Hutter, Hoos & Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter
    Importance".
    """
    if n_trees < 2:
        raise OptimizerError(f"n_trees must be at least 2, got {n_trees}")
    space = Space(problem)
    basis = basis_of(problem, space, history, metric)
    refusal = _refusal(metric, basis.y)
    if refusal is not None:
        return Importance(metric, basis.indices, basis.left_out, None, "not_enough", refusal)
    grove = grow(space, basis.rows, basis.y, n_trees, seed)
    verdict, explanation = _judge(metric, len(basis.y), grove.r2_oob)
    r2 = None if math.isnan(grove.r2_oob) else grove.r2_oob
    if verdict == "not_enough":
        return Importance(metric, basis.indices, basis.left_out, r2, verdict, explanation)

    named = _columns(space, groups or {})
    columns = [on for _, _, on in named]
    trees = [decompose(boxes) for boxes in grove.boxes]
    shares = shares_of(trees, grove.boxes[:_N_GROUP_TREES], columns)
    low, high = shares, shares
    if with_intervals:
        low, high = intervals(space, basis.rows, basis.y, columns, shares, seed)
    d = len(space.names)
    parameters = tuple(
        _of_parameter(problem, space, basis, metric, grove, trees, j, *shown)
        for j, shown in (
            (int(j), (float(shares[j]), float(low[j]), float(high[j])))
            for j in np.argsort(-shares[:d], kind="stable")
        )
    )
    found = [
        GroupImportance(
            kind,
            name,
            tuple(space.names[j] for j in on),
            float(shares[k]),
            float(low[k]),
            float(high[k]),
        )
        for k, (kind, name, on) in enumerate(named, start=d)
    ]
    kinds = list(groups or {})
    found.sort(key=lambda group: (kinds.index(group.kind), -group.importance))
    return Importance(
        metric,
        basis.indices,
        basis.left_out,
        r2,
        verdict,
        explanation,
        parameters,
        _pairs(space, trees),
        tuple(found),
        grove,
    )


def _refusal(metric: str, y: Array) -> str | None:
    if len(y) < _MIN_TRIALS:
        return (
            f"{len(y)} trials have a value of {metric}; a ranking needs at least {_MIN_TRIALS}: "
            "run more trials."
        )
    if np.ptp(y) <= 1e-12 * max(1.0, float(np.abs(y).max())):
        return f"{metric} was the same in all {len(y)} trials: there is nothing to explain."
    return None


def _judge(metric: str, n: int, r2: float) -> tuple[Verdict, str]:
    basis = (
        f"The forest explains {max(r2, 0.0):.0%} of {metric} in trials it has not seen ({n} trials)"
    )
    if math.isnan(r2) or r2 < _MIN_R2:
        return "not_enough", f"{basis}: too little for a ranking; run more trials."
    if n < _MANY_TRIALS:
        return (
            "care",
            f"{basis}: treat the ranking with care until there are {_MANY_TRIALS} trials.",
        )
    if r2 < _GOOD_R2:
        return "care", f"{basis}: treat it with care, the order may still change."
    return "enough", f"{basis}: enough to trust the ranking."


def _columns(space: Space, groups: Groups) -> list[tuple[str, str, list[int]]]:
    """Kind, name and columns of every group that has a parameter of the space."""
    at = {name: j for j, name in enumerate(space.names)}
    found = [
        (kind, name, sorted({at[one] for one in names if one in at}))
        for kind, members in groups.items()
        for name, names in members.items()
    ]
    return [(kind, name, on) for kind, name, on in found if on]


def _of_parameter(
    problem: Problem,
    space: Space,
    basis: Basis,
    metric: str,
    grove: Grove,
    trees: Sequence[Decomposition],
    j: int,
    share: float,
    low: float,
    high: float,
) -> ParameterImportance:
    curve = curve_of(space, grove, trees, j)
    reading = read_curve(space.parameters[j], curve.mean, curve.sd)
    region = Region(space, grove, j)
    where_active = None
    if not region.is_everything:
        parts = zip(grove.boxes, trees, strict=True)
        where_active = float(np.mean([region.importance(b, part.edges[j]) for b, part in parts]))
    column = basis.rows[:, j]
    return ParameterImportance(
        name=space.names[j],
        importance=share,
        low=low,
        high=high,
        direction=reading.direction,
        strength=reading.strength,
        recommendation=_recommendation(problem, space, j, basis, metric, curve, reading),
        rank_correlation=_rank_correlation(space, j, column, basis.y),
        active_share=float(np.mean(~np.isnan(column))),
        active_importance=where_active,
        curve=curve,
    )


def _recommendation(
    problem: Problem,
    space: Space,
    j: int,
    basis: Basis,
    metric: str,
    curve: Curve,
    reading: Reading,
) -> Recommendation:
    """Values of the best trials within the limits; for a limited metric of all within them."""
    column, y = basis.rows[:, j], basis.y
    tried = column[~np.isnan(column)]
    if len(tried) == 0:
        return Recommendation("It was active in no trial, so nothing can be said of it.")
    if np.ptp(tried) == 0:
        only = told(space.value_of(j, float(tried[0])))
        return Recommendation(f"In all trials no value but {only} was tried: nothing can be said.")
    is_objective = metric in problem.objectives
    wants_more = is_maximised(metric)
    for constraint in problem.constraints:
        if constraint.metric == metric and not is_objective:
            wants_more = not constraint.is_upper
    order = np.argsort(-y if wants_more else y, kind="stable")
    within = [int(i) for i in order if basis.is_feasible[i] and not math.isnan(column[i])]
    are_best = is_objective or not any(c.metric == metric for c in problem.constraints)
    return recommend(
        metric,
        [str(c) for c in problem.constraints],
        wants_more,
        curve.x,
        curve.mean,
        reading,
        [space.value_of(j, float(column[i])) for i in (within[:_N_BEST] if are_best else within)],
        are_best,
    )


def _rank_correlation(space: Space, j: int, column: Array, y: Array) -> float | None:
    active = ~np.isnan(column)
    if space.parameters[j].kind == "choice" or active.sum() < 3:
        return None
    if np.ptp(column[active]) == 0 or np.ptp(y[active]) == 0:
        return None
    return float(spearmanr(column[active], y[active]).statistic)


def _pairs(space: Space, trees: Sequence[Decomposition]) -> tuple[tuple[str, str, float], ...]:
    joint = np.mean([part.pairs / part.total for part in trees if part.total > 0], axis=0)
    first, second = np.triu_indices(len(joint), k=1)
    share = joint[first, second]
    return tuple(
        (space.names[first[k]], space.names[second[k]], float(share[k]))
        for k in np.argsort(-share, kind="stable")
        if share[k] > 0
    )
