"""An additive model of one metric learned from a source's trials and this study's together.

Depends on: numpy, scipy.

Every effect is one that both have in common, and a deviation that is this study's own. So what a
source has measured often is known here as surely as the two may differ, and what it never tried is
as unknown as without it: a source's predictions alone, taken as an input, would not say which.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.additive import AdditiveModel, Terms, fit_additive, root_of

Array = NDArray[np.float64]

# A deviation is expected to be less than the effect itself by so much, in log variance.
_LOG_LESS = -2.0
# Within this factor of the same slope both are taken to measure in the same unit: the few trials of
# a young study tell a slope less well than that.
_SAME_UNIT = 3.0
_JITTER = 1e-9


class _Both:
    """Terms of inputs whose last column says whether this study (1) or the source (0) measured."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        n_owners = len(terms.log_variance)
        self.owner = np.concatenate(
            [terms.owner, np.where(terms.owner >= 0, terms.owner + n_owners, -1)]
        )
        self.log_variance = np.concatenate([terms.log_variance, terms.log_variance + _LOG_LESS])

    def of(self, x: Array) -> Array:
        """Common terms, then deviations (n, 2 n_terms) of inputs (n, k + 1)."""
        common = self._terms.of(x[:, :-1])
        return np.concatenate([common, x[:, -1:] * common], axis=1)


def aligned(there: Array, told: Array, here: Array) -> Array:
    """A source's values as this study would have measured them, as far as offset and unit go.

    Args:
        there: What the source measured, as modelled, (m,).
        told: What a model of these says of this study's trials, (n,).
        here: What was measured of them, (n,).

    Returns:
        Shape (m,). The slope is 1 unless the two differ by more than a factor of three.
    """
    spread = told - told.mean()
    slope = float(spread @ (here - here.mean())) / max(float(spread @ spread), 1e-300)
    if slope <= 0 or 1 / _SAME_UNIT <= slope <= _SAME_UNIT:
        slope = 1.0
    return np.asarray(slope * there + np.mean(here - slope * told))


def fit_joint(terms: Terms, there: tuple[Array, Array], here: tuple[Array, Array]) -> AdditiveModel:
    """What this study's model is, after both studies' trials.

    Args:
        terms: The basis of this study's own model.
        there: Inputs (m, k) of a source's trials and their values (m,), aligned.
        here: Inputs (n, k) of this study's trials and their values (n,).

    Returns:
        A model over ``terms``: the sum of common effects and deviations, normal as both are.

    Source: as ``fit_additive``; a linear model of coregionalisation of two tasks, Bonilla, Chai &
    Williams 2008, "Multi-task Gaussian Process Prediction", with one deviation for each term.
    """
    x = np.concatenate(
        [
            np.column_stack([there[0], np.zeros(len(there[0]))]),
            np.column_stack([here[0], np.ones(len(here[0]))]),
        ]
    )
    both = fit_additive(_Both(terms), x, np.concatenate([there[1], here[1]]))
    n = len(terms.owner)
    summed = both.root[:, :n] + both.root[:, n:]
    covariance = summed.T @ summed
    deviation = np.sqrt(covariance.diagonal())
    correlation = covariance / np.outer(deviation, deviation)
    correlation.ravel()[:: n + 1] += _JITTER
    precision = np.linalg.inv(correlation)
    precision = 0.5 * (precision + precision.T)
    return AdditiveModel(
        terms,
        both.weights[:n] + both.weights[n:],
        deviation,
        precision,
        root_of(precision, deviation),
        both.center,
        both.scale,
        both.noise,
    )
