"""What more training makes of an accuracy, learned from the configs that were trained further.

Depends on: the standard library. Pure.

From one rung to the next, what a config lacks to the best value seen anywhere follows a straight
line, with noise around it: that of training, and that of counting on a few images. Where a rung
tells little the line is flat and the noise wide, so that nobody is believed to be much better or
worse than the others.

Source: Kennedy & O'Hagan 2000, "Predicting the output from a complex computer code when fast
approximations are available", equation 1, with a line in the place of the process; the line as in
Gelman et al. 2013, "Bayesian Data Analysis", section 14.8 (conjugate prior).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Before anything is known: half of what a config lacks is still lacking a rung further, give or
# take as much; the line passes through the best value seen, to within half of what configs of the
# rung lack (root mean square), and so wide are the residuals. All of that is worth two configs.
_SLOPE, _SLOPE_SD = 0.5, 0.5
_REST_SD, _OFFSET_SD = 0.5, 0.5
_N_PRIOR = 2
_LEAST_SCALE = 1e-3  # a tenth of a point: where nobody lacks anything yet


@dataclass(frozen=True)
class _Line:
    """A fitted line: what is lacking a rung further, given what is lacking here.

    Attributes:
        offset: At 0.
        slope: What is left of each unit.
        covariance: Of the two, in units of the residuals' variance: offset, both, slope.
        variance: Of the residuals.
    """

    offset: float
    slope: float
    covariance: tuple[float, float, float]
    variance: float

    def follow(self, mean: float, variance: float) -> tuple[float, float]:
        """Mean and variance a rung further."""
        v_offset, v_both, v_slope = self.covariance
        unsure = v_offset + 2.0 * v_both * mean + v_slope * mean * mean
        spread = self.slope**2 + self.variance * v_slope
        return (
            self.offset + self.slope * mean,
            self.variance * (1.0 + unsure) + spread * variance,
        )


class Growth:
    """Predicts a metric at the top rung from its value at a lower one."""

    def __init__(
        self,
        values: Sequence[Sequence[float]],
        steps: Sequence[Sequence[tuple[float, float]]],
        is_maximised: bool,
    ) -> None:
        """Fit a line to each step.

        Args:
            values: Of each rung but the top one, those of all configs that ended there.
            steps: From each rung to the next, the values before and after of those that went on.
            is_maximised: Whether more is better.
        """
        self._sign = -1.0 if is_maximised else 1.0
        known = [value for of_rung in values for value in of_rung]
        known += [after for step in steps for _, after in step]
        self._best = min((self._sign * value for value in known), default=0.0)
        self._lines = [
            _fit([self._lack(v) for v in here], [(self._lack(a), self._lack(b)) for a, b in step])
            for here, step in zip(values, steps, strict=True)
        ]

    def at_top(self, value: float, rung: int) -> tuple[float, float]:
        """Mean and standard deviation of what a config with this value at a rung has at the top."""
        mean, variance = self._lack(value), 0.0
        for line in self._lines[rung:]:
            mean, variance = line.follow(mean, variance)
        return self._sign * (self._best + mean), math.sqrt(variance)

    def _lack(self, value: float) -> float:
        return self._sign * value - self._best


def _fit(here: Sequence[float], step: Sequence[tuple[float, float]]) -> _Line:
    scale = math.sqrt(sum(x * x for x in here) / len(here)) if here else 0.0
    scale = max(scale, _LEAST_SCALE)
    # The prior as precisions in units of the residuals' variance.
    rest = (_REST_SD * scale) ** 2
    p_offset, p_slope = rest / (_OFFSET_SD * scale) ** 2, rest / _SLOPE_SD**2
    n = len(step)
    sum_x, sum_y = sum(x for x, _ in step), sum(y for _, y in step)
    sum_xx, sum_xy = sum(x * x for x, _ in step), sum(x * y for x, y in step)
    a, b, c = p_offset + n, sum_x, p_slope + sum_xx
    d, e = sum_y, p_slope * _SLOPE + sum_xy
    determinant = a * c - b * b
    offset, slope = (c * d - b * e) / determinant, (a * e - b * d) / determinant
    squares = sum((y - offset - slope * x) ** 2 for x, y in step)
    squares += p_offset * offset**2 + p_slope * (slope - _SLOPE) ** 2
    return _Line(
        offset,
        slope,
        (c / determinant, -b / determinant, a / determinant),
        (_N_PRIOR * rest + squares) / (_N_PRIOR + n),
    )
