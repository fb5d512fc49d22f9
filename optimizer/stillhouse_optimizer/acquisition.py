"""How much a config promises: expected improvement times the probability of feasibility, in logs.

Depends on: numpy, scipy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr  # type: ignore[import-untyped]  # scipy has no types

Array = NDArray[np.float64]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def log_ei(mean: Array, sd: Array, eta: float) -> Array:
    """Log of the expected improvement below ``eta`` of a normal prediction.

    Finite far away too, where the plain form underflows to zero (SMAC's EI) or to a negative
    number by round-off (SMAC's EI with ``log=True``).

    Args:
        mean: Predicted means, shape (n,).
        sd: Predicted standard deviations, above 0, shape (n,).
        eta: The value to improve on.

    Returns:
        Shape (n,).

    Source: Jones, Schonlau & Welch 1998, equation 15, for EI; Ament et al. 2023, "Unexpected
    Improvements to Expected Improvement for Bayesian Optimization", equation 9, for its log.
    """
    z = (eta - mean) / sd
    near = z > -1.0
    value = np.empty_like(z)
    zn = z[near]
    density = np.exp(-0.5 * zn**2 - _LOG_SQRT_2PI)
    value[near] = np.log(density + zn * np.exp(log_ndtr(zn)))
    zf = z[~near]
    # phi(z) + z Phi(z) = phi(z) (1 + z sqrt(pi/2) erfcx(-z / sqrt 2)); the bracket is about
    # 1 / z^2 far out, where its own difference would lose every digit.
    bracket = 1.0 + zf * math.sqrt(math.pi / 2) * erfcx(-zf / math.sqrt(2.0))
    far = zf < -1e4
    log_bracket = np.where(far, -2.0 * np.log(np.abs(zf)), np.log(np.where(far, 1.0, bracket)))
    value[~near] = -0.5 * zf**2 - _LOG_SQRT_2PI + log_bracket
    return value + np.log(sd)


def log_probability_below(mean: Array, sd: Array, bound: float) -> Array:
    """Log of the probability that a normal value lies below ``bound``; shape (n,)."""
    return np.asarray(log_ndtr((bound - mean) / sd))
