"""How much worse the truth may be than what a test set of images shows.

Depends on: scipy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import beta, norm  # type: ignore[import-untyped]  # scipy has no types

from stillhouse_optimizer.errors import OptimizerError

CONFIDENCE = 0.9


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

    def upper_bound(self, confidence: float = CONFIDENCE) -> float:
        """One-sided upper bound on the true loss of accuracy.

        Pairing matters: images that both get right or both get wrong carry no noise.

        Source: Tango 1998, "Equivalence test and confidence interval for the difference in
        proportions for the paired-sample design", equation 9 (the score interval), solved by
        bisection; without any disagreement the exact bound of Clopper & Pearson 1934.
        """
        n, lost, won = self.n_images, self.n_lost, self.n_won
        _check(confidence)
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


def share_lower_bound(n_right: int, n_images: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound on the true share of images a network gets right.

    Args:
        n_right: Images it got right.
        n_images: Images it was shown, at least 1.
        confidence: Of the bound, in [0.5, 1).

    Raises:
        OptimizerError: a count or the confidence is out of range.

    Source: Clopper & Pearson 1934.
    """
    _check(confidence)
    if not 0 <= n_right <= n_images or n_images < 1:
        raise OptimizerError(f"{n_right} right of {n_images} images makes no sense")
    if n_right == 0:
        return 0.0
    return float(beta.ppf(1.0 - confidence, n_right, n_images - n_right + 1))


def _check(confidence: float) -> None:
    if not 0.5 <= confidence < 1.0:
        raise OptimizerError(f"confidence must lie in [0.5, 1), got {confidence}")
