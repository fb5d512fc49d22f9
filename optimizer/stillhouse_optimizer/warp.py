"""On which scale a limited metric is modelled: as it is, or as the logarithm of what is lost.

Depends on: numpy.

Where a bad training makes every loss larger, losses multiply: their logarithms add up, and an
additive model of logarithms predicts them far better. Where losses add up it is the other way
round. The trials say which it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.additive import AdditiveModel, Terms, fit_additive

Array = NDArray[np.float64]

# Fewer trials tell no scale from another.
_FEWEST = 8
# What is added to every loss before its logarithm is taken, as a share of the median loss: keeps
# the noise of the smallest ones from becoming large.
_OFFSET = 0.3


@dataclass(frozen=True)
class Warp:
    """Values above ``low`` on a logarithmic scale; without an offset, every value as it is.

    Attributes:
        low: The least value seen.
        offset: Added to ``value - low``; 0 for no warp at all.
    """

    low: float = 0.0
    offset: float = 0.0

    def apply(self, values: Array) -> Array:
        """Warped values, rising with the values; half an offset below the least all are one."""
        if not self.offset:
            return values
        above = np.maximum(values - self.low, -0.5 * self.offset)
        return np.asarray(np.log(above + self.offset))

    def undo(self, warped: float) -> float:
        """The value of a warped one."""
        return math.exp(min(warped, 700.0)) - self.offset + self.low if self.offset else warped


AS_IT_IS = Warp()


def choose_warp(terms: Terms, x: Array, values: Array) -> tuple[Warp, AdditiveModel | None]:
    """The scale on which an additive model explains the values better.

    Args:
        terms: The model's basis.
        x: Inputs (n, k).
        values: What is modelled: more is worse; shape (n,).

    Returns:
        The scale, and the additive model of the values on it if one was fitted.

    Source: Snelson, Rasmussen & Ghahramani 2004, "Warped Gaussian Processes", equation 7: the
    evidence of warped values and the slope of the warp.
    """
    low = float(values.min()) if len(values) else 0.0
    offset = _OFFSET * float(np.median(values - low)) if len(values) >= _FEWEST else 0.0
    if not offset > 1e-12 * max(1.0, abs(low)):
        return AS_IT_IS, None
    warp = Warp(low, offset)
    warped = warp.apply(values)
    as_it_is, as_logarithm = fit_additive(terms, x, values), fit_additive(terms, x, warped)
    # The slope of the logarithm is one over its argument.
    if as_logarithm.log_evidence - float(warped.sum()) > as_it_is.log_evidence:
        return warp, as_logarithm
    return AS_IT_IS, as_it_is
