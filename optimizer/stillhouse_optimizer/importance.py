"""Which parameters mattered for a metric, which way to turn them, and how sure that is.

Depends on: numpy, scipy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr  # type: ignore[import-untyped]  # scipy has no types

from stillhouse_optimizer.advice import Direction, Reading, read_curve, recommend
from stillhouse_optimizer.errors import OptimizerError
from stillhouse_optimizer.fanova import Decomposition, decompose, evaluate
from stillhouse_optimizer.feasibility import is_feasible
from stillhouse_optimizer.grove import Grove, grow
from stillhouse_optimizer.parameter import Value
from stillhouse_optimizer.space import Rows, Space
from stillhouse_optimizer.spec import Observation, Problem, is_maximised

Array = NDArray[np.float64]
Verdict = Literal["enough", "care", "not_enough"]

# Reasons for these stand in docs/optimiser.md.
_MIN_TRIALS, _MANY_TRIALS = 10, 30
_MIN_R2, _GOOD_R2 = 0.3, 0.6
_CURVE_POINTS = 33
_N_PAIRS = 10


@dataclass(frozen=True)
class Curve:
    """What the metric is expected to be at values of one parameter, all others averaged out.

    Attributes:
        x: Values on the parameter's own scale, ascending (a choice: in its own order).
        mean: Expected metric at each, in its own unit.
        sd: Standard deviation between trees, each grown on resampled trials.
    """

    x: tuple[Value, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]


@dataclass(frozen=True)
class ParameterImportance:
    """One parameter's share.

    Attributes:
        name: The parameter's.
        importance: Share of the metric's variance over the space that it explains alone, 0..1.
        low: Tenth percentile of that share over trees, each grown on resampled trials.
        high: Ninetieth percentile.
        direction: Which way the metric goes as the parameter rises; ``none`` for a choice.
        strength: How plainly, 0..1.
        recommendation: A plain sentence.
        rank_correlation: Spearman's, over trials in which it is active; None for a choice or
            without variation.
        active_share: Share of the trials in which it is active.
        curve: Its marginal, over the region in which it is active.
    """

    name: str
    importance: float
    low: float
    high: float
    direction: Direction
    strength: float
    recommendation: str
    rank_correlation: float | None
    active_share: float
    curve: Curve


@dataclass(frozen=True)
class Importance:
    """The answer for one metric.

    Attributes:
        metric: Its name.
        n_trials: Trials it stands on.
        n_left_out: Trials without a finite value of the metric, or of another space.
        r2_oob: Out-of-bag R2 of the forest; None when it cannot be told.
        verdict: ``enough`` data, treat with ``care``, or ``not_enough`` for a ranking.
        explanation: The verdict in a plain sentence.
        parameters: Most important first; empty when there is not enough data.
        pairs: ``(name, name, share)`` of the strongest interactions; likewise.
    """

    metric: str
    n_trials: int
    n_left_out: int
    r2_oob: float | None
    verdict: Verdict
    explanation: str
    parameters: tuple[ParameterImportance, ...] = ()
    pairs: tuple[tuple[str, str, float], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The entry of ``metrics`` in docs/api.md's Importance; no NaN in it."""
        return {
            "n_trials": self.n_trials,
            "n_left_out": self.n_left_out,
            "r2_oob": self.r2_oob,
            "verdict": self.verdict,
            "explanation": self.explanation,
            "parameters": [
                {
                    "name": p.name,
                    "importance": p.importance,
                    "importance_low": p.low,
                    "importance_high": p.high,
                    "direction": p.direction,
                    "strength": p.strength,
                    "recommendation": p.recommendation,
                    "rank_correlation": p.rank_correlation,
                    "active_share": p.active_share,
                    "curve": {
                        "x": list(p.curve.x),
                        "mean": list(p.curve.mean),
                        "sd": list(p.curve.sd),
                    },
                }
                for p in self.parameters
            ],
            "pairs": [{"names": [a, b], "importance": share} for a, b, share in self.pairs],
        }


def importance(
    problem: Problem,
    history: Sequence[Observation],
    metric: str,
    seed: int,
    n_trees: int = 64,
) -> Importance:
    """Say which parameters explain a metric, by exact fANOVA on a forest.

    Args:
        problem: Whose parameters and limits.
        history: Finished trials; failed ones and those without the metric are left out.
        metric: Name of any metric in ``Observation.metrics``.
        seed: Of the forest.
        n_trees: At least 2.

    Raises:
        ProblemError: the space makes no sense.
        OptimizerError: fewer than 2 trees.

    Source: Hutter, Hoos & Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter
    Importance".
    """
    if n_trees < 2:
        raise OptimizerError(f"n_trees must be at least 2, got {n_trees}")
    space = Space(problem)
    rows, y, feasible = _measured(problem, space, history, metric)
    n, n_left_out = len(y), len(history) - len(y)
    refusal = _refusal(metric, y)
    if refusal is not None:
        return Importance(metric, n, n_left_out, None, "not_enough", refusal)
    grove = grow(space, rows, y, n_trees, seed)
    verdict, explanation = _judge(metric, n, grove.r2_oob)
    r2 = None if math.isnan(grove.r2_oob) else grove.r2_oob
    if verdict == "not_enough":
        return Importance(metric, n, n_left_out, r2, verdict, explanation)

    trees = [part for part in map(decompose, grove.boxes) if part.total > 0]
    shares = np.array([part.mains / part.total for part in trees])
    joint = np.mean([part.pairs / part.total for part in trees], axis=0)
    wants_more = _wants_more(problem, metric)
    parameters = []
    for j in np.argsort(-shares.mean(axis=0), kind="stable"):
        curve = _curve(space, grove, trees, int(j))
        reading = read_curve(space.parameters[j], curve.mean, curve.sd)
        parameters.append(
            ParameterImportance(
                name=space.names[j],
                importance=float(shares[:, j].mean()),
                low=float(np.quantile(shares[:, j], 0.1)),
                high=float(np.quantile(shares[:, j], 0.9)),
                direction=reading.direction,
                strength=reading.strength,
                recommendation=_recommendation(
                    problem, space, int(j), rows, y, feasible, metric, wants_more, curve, reading
                ),
                rank_correlation=_rank_correlation(space, int(j), rows[:, j], y),
                active_share=float(np.mean(~np.isnan(rows[:, j]))),
                curve=curve,
            )
        )
    return Importance(
        metric, n, n_left_out, r2, verdict, explanation, tuple(parameters), _pairs(space, joint)
    )


def _measured(
    problem: Problem, space: Space, history: Sequence[Observation], metric: str
) -> tuple[Rows, Array, NDArray[np.bool_]]:
    rows, values, feasible = [], [], []
    for observation in history:
        value = (observation.metrics or {}).get(metric)
        if observation.status != "complete" or value is None or not math.isfinite(value):
            continue
        try:
            rows.append(space.encode(observation.config))
        except OptimizerError:
            continue  # counted as left out
        values.append(float(value))
        feasible.append(is_feasible(observation.metrics or {}, problem.constraints)[0])
    return np.array(rows).reshape(-1, len(space.names)), np.array(values), np.array(feasible, bool)


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


def _wants_more(problem: Problem, metric: str) -> bool:
    """Whether more of the metric is better: by its limit where it has one, else by its sense."""
    for constraint in problem.constraints:
        if constraint.metric == metric and metric != problem.objective:
            return not constraint.is_upper
    return is_maximised(metric)


def _curve(space: Space, grove: Grove, trees: Sequence[Decomposition], j: int) -> Curve:
    codes = space.codes[j]
    x: tuple[Value, ...]
    if codes is None:
        at = np.linspace(0.0, 1.0, _CURVE_POINTS)
        x = tuple(space.value_of(j, float(code)) for code in at)
    else:
        k = len(codes)
        level = np.arange(k)
        if not space.is_listed[j] and k > _CURVE_POINTS:
            level = np.unique(np.linspace(0, k - 1, _CURVE_POINTS).round().astype(int))
        rank = np.empty(k)
        rank[grove.level_order[j]] = np.arange(k)
        at = (rank[level] + 0.5) / k
        x = tuple(space.parameters[j].value_at(int(i)) for i in level)
    values = np.array([evaluate(part, j, at) for part in trees])
    return Curve(x, tuple(values.mean(axis=0).tolist()), tuple(values.std(axis=0).tolist()))


def _recommendation(
    problem: Problem,
    space: Space,
    j: int,
    rows: Rows,
    y: Array,
    feasible: NDArray[np.bool_],
    metric: str,
    wants_more: bool,
    curve: Curve,
    reading: Reading,
) -> str:
    order = np.argsort(-y if wants_more else y, kind="stable")
    best = [int(i) for i in order if feasible[i] and not math.isnan(rows[i, j])][:5]
    return recommend(
        metric,
        [str(c) for c in problem.constraints],
        wants_more,
        curve.x,
        curve.mean,
        reading,
        [space.value_of(j, float(rows[i, j])) for i in best],
    )


def _rank_correlation(space: Space, j: int, column: Array, y: Array) -> float | None:
    active = ~np.isnan(column)
    if space.parameters[j].kind == "choice" or active.sum() < 3:
        return None
    if np.ptp(column[active]) == 0 or np.ptp(y[active]) == 0:
        return None
    return float(spearmanr(column[active], y[active]).statistic)


def _pairs(space: Space, joint: Array) -> tuple[tuple[str, str, float], ...]:
    first, second = np.triu_indices(len(joint), k=1)
    share = joint[first, second]
    strongest = np.argsort(-share, kind="stable")[:_N_PAIRS]
    return tuple(
        (space.names[first[k]], space.names[second[k]], float(share[k]))
        for k in strongest
        if share[k] > 0
    )


def importances(
    problem: Problem,
    history: Sequence[Observation],
    seed: int,
    metrics: Sequence[str] | None = None,
) -> Mapping[str, Importance]:
    """``importance`` of several metrics; without names of the objective and every limit."""
    names = metrics or [problem.objective, *(c.metric for c in problem.constraints)]
    return {m: importance(problem, history, m, seed) for m in dict.fromkeys(names)}
