"""The best trial so far, judged with the noise of its measurements in mind.

Depends on: scipy, feasibility.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import beta, norm  # type: ignore[import-untyped]  # scipy has no types

from stillhouse_optimizer.errors import OptimizerError
from stillhouse_optimizer.feasibility import is_feasible
from stillhouse_optimizer.spec import Observation, Problem, is_maximised

_PAIRED_METRIC = "top1_drop"


@dataclass(frozen=True)
class PairedCounts:
    """Images of the test set on which a candidate and its baseline disagree.

    Attributes:
        n_images: Size of the test set.
        n_lost: Right by the baseline alone.
        n_won: Right by the candidate alone.
    """

    n_images: int
    n_lost: int
    n_won: int

    def __post_init__(self) -> None:
        if self.n_images < 1 or min(self.n_lost, self.n_won) < 0:
            raise OptimizerError(f"counts must not be negative and images at least 1: {self}")
        if self.n_lost + self.n_won > self.n_images:
            raise OptimizerError(f"more disagreements than images: {self}")

    @property
    def drop(self) -> float:
        """Observed loss of accuracy, as a fraction."""
        return (self.n_lost - self.n_won) / self.n_images

    def upper_bound(self, confidence: float = 0.9) -> float:
        """One-sided upper bound on the true loss of accuracy.

        Pairing matters: images that both get right or both get wrong carry no noise.

        Source: Tango 1998, "Equivalence test and confidence interval for the difference in
        proportions for the paired-sample design", equation 9 (the score interval), solved by
        bisection; without any disagreement the exact bound of Clopper & Pearson 1934.
        """
        n, lost, won = self.n_images, self.n_lost, self.n_won
        if not 0.5 <= confidence < 1.0:
            raise OptimizerError(f"confidence must lie in [0.5, 1), got {confidence}")
        if lost + won == 0:
            return float(beta.ppf(confidence, 1, n))
        z = float(norm.ppf(confidence))
        low, high = self.drop, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            if self._score(middle) > -z:
                low = middle
            else:
                high = middle
        return high

    def _score(self, drop: float) -> float:
        """Tango's score statistic of the hypothesis that the true loss is ``drop``."""
        n, lost, won = self.n_images, self.n_lost, self.n_won
        a = 2 * n
        b = -lost - won + (2 * n - lost + won) * drop
        c = -won * drop * (1 - drop)
        p_won = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = n * (2 * p_won + drop * (1 - drop))
        if variance <= 0.0:
            return 0.0 if lost - won == n * drop else math.copysign(math.inf, lost - won - n * drop)
        return (lost - won - n * drop) / math.sqrt(variance)


@dataclass(frozen=True)
class Incumbent:
    """The best trial that meets the limits.

    Attributes:
        index: Its place in the history.
        is_certain: Whether its one-sided bound on the accuracy lost meets the limits too, so that
            it may be announced; without paired counts False where accuracy is limited.
        top1_drop_bound: That bound; None without paired counts.
    """

    index: int
    is_certain: bool
    top1_drop_bound: float | None


def incumbent(
    problem: Problem,
    history: Sequence[Observation],
    counts: Sequence[PairedCounts | None] | None = None,
    confidence: float = 0.9,
) -> Incumbent | None:
    """Choose the incumbent.

    A trial whose bound meets the limits beats every trial whose measured value alone does: the best
    of many noisy measurements is lucky more often than good.

    Args:
        problem: Its objective and limits.
        history: Finished trials.
        counts: For each trial its disagreements with the baseline, where known.
        confidence: Of the one-sided bound.

    Returns:
        None when no trial meets the limits by its measured values. Ties go to the earlier trial.

    Raises:
        OptimizerError: ``counts`` has another length than ``history``.
    """
    paired = list(counts) if counts is not None else [None] * len(history)
    if len(paired) != len(history):
        raise OptimizerError(f"{len(paired)} counts for {len(history)} trials")
    limits_accuracy = any(c.metric == _PAIRED_METRIC for c in problem.constraints)
    best: tuple[bool, float] | None = None
    found: Incumbent | None = None
    for index, (trial, pair) in enumerate(zip(history, paired, strict=True)):
        metrics = dict(trial.metrics or {})
        value = metrics.get(problem.objective, math.nan)
        if trial.status != "complete" or not math.isfinite(value):
            continue
        if not is_feasible(metrics, problem.constraints)[0]:
            continue
        bound = pair.upper_bound(confidence) if pair is not None else None
        if bound is None:
            is_certain = not limits_accuracy
        else:
            is_certain = is_feasible(metrics | {_PAIRED_METRIC: bound}, problem.constraints)[0]
        rank = (not is_certain, -value if is_maximised(problem.objective) else value)
        if best is None or rank < best:
            best, found = rank, Incumbent(index, is_certain, bound)
    return found
