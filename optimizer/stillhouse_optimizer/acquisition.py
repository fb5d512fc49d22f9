"""How much a config promises: expected improvement times the probability of feasibility, in logs.

Depends on: numpy, scipy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import (  # type: ignore[import-untyped]  # scipy has no types
    erfcx,
    log_ndtr,
    logsumexp,
)

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


def log_ei_of_log(mean: Array, sd: Array, eta: float) -> Array:
    """Log of the expected improvement of exp(a normal prediction) below exp(``eta``).

    Args:
        mean: Predicted means of the logarithm, shape (n,).
        sd: Predicted standard deviations, above 0, shape (n,).
        eta: Logarithm of the value to improve on.

    Returns:
        Shape (n,).

    Source: the price of a put (Black & Scholes 1973, equation 13); far away, where its two terms
    cancel, to first order in the logarithm.
    """
    z = (eta - mean) / sd
    below, shifted = log_ndtr(z), log_ndtr(z - sd)
    ratio = mean + 0.5 * sd**2 - eta + shifted - below
    plain = eta + below + np.log(-np.expm1(np.minimum(ratio, -1e-9)))
    return np.asarray(np.where(ratio > -1e-9, eta + log_ei(mean, sd, eta), plain))


def log_ehvi(
    means: Sequence[Array],
    sds: Sequence[Array],
    is_log: Sequence[bool],
    low: Array,
    high: Array,
) -> Array:
    """Log of the expected hypervolume improvement of independent normal predictions.

    The volume that a point adds is the sum, over disjoint boxes of what is dominated by nothing
    yet, of a product of lengths; under independence its mean is a sum of products of differences
    of one-dimensional expected improvements.

    Args:
        means: For each objective predicted means (n,).
        sds: For each objective predicted standard deviations (n,), above 0.
        is_log: For each objective whether it predicts a logarithm; volume counts the value itself.
        low: Lower corners of the boxes (n_boxes, n_objectives), minus infinity allowed.
        high: Upper corners.

    Returns:
        Shape (n,).

    Source: Emmerich, Deutz & Klinkenberg 2011, "Hypervolume-based expected improvement:
    Monotonicity properties and exact computation"; summed over boxes as in Yang et al. 2019,
    "Efficient computation of expected hypervolume improvement using box decomposition
    algorithms", equation 21; in logarithms as Ament et al. 2023.
    """
    terms = np.zeros((len(low), len(means[0])))
    for k, (mean, sd) in enumerate(zip(means, sds, strict=True)):
        gain = log_ei_of_log if is_log[k] else log_ei
        known = {float(b): gain(mean, sd, float(b)) for b in np.unique(high[:, k])}
        for b in np.unique(low[:, k][np.isfinite(low[:, k])]):
            if float(b) not in known:
                known[float(b)] = gain(mean, sd, float(b))
        for term, lower, upper in zip(terms, low[:, k].tolist(), high[:, k].tolist(), strict=True):
            term += known[upper]
            if math.isfinite(lower):
                less = np.minimum(known[lower] - known[upper], -1e-12)
                term += np.log(-np.expm1(less))
    return np.asarray(logsumexp(terms, axis=0))


def log_probability_below(mean: Array, sd: Array, bound: float) -> Array:
    """Log of the probability that a normal value lies below ``bound``; shape (n,)."""
    return np.asarray(log_ndtr((bound - mean) / sd))
