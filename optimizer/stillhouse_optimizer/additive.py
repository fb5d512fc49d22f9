"""The additive part of a model: a bent line for each range, a level for each category.

Depends on: numpy, scipy.

Each hyperparameter contributes a linear and a quadratic term of its own; how much it may contribute
is learned by type-II maximum a posteriori. Works in the terms' own space, so that the time grows
linearly with the number of trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular  # type: ignore[import-untyped]  # scipy has no types
from scipy.optimize import minimize  # type: ignore[import-untyped]  # scipy has no types

from stillhouse_optimizer.forest import standard

Array = NDArray[np.float64]

# Prior of log noise variance and spread of log term variances, targets standardised.
_LOG_NOISE, _LOG_NOISE_SD = -5.0, 1.5
_LOG_TERM_SD = 1.5
_NOISE_FLOOR = 1e-6
_N_ITERATIONS = 40


class Terms:
    """Basis functions of inputs: for a number z = x - 1/2 the first two Legendre polynomials.

    Attributes:
        owner: For each term the group it belongs to; the constant, last, belongs to none (-1).
        groups: Input columns of each group.
        n_groups: Number of groups.
    """

    def __init__(self, groups: Sequence[NDArray[np.intp]], is_category: Sequence[bool]) -> None:
        self._numbers = np.array(
            [g[0] for g, c in zip(groups, is_category, strict=True) if not c], dtype=np.intp
        )
        self._categories = np.array(
            [k for g, c in zip(groups, is_category, strict=True) if c for k in g], dtype=np.intp
        )
        owner = {int(k): i for i, group in enumerate(groups) for k in group}
        numbers = [owner[int(k)] for k in self._numbers]
        self.owner = np.array(
            [*numbers, *numbers, *(owner[int(k)] for k in self._categories), -1], dtype=np.intp
        )
        self.groups = tuple(groups)
        self.n_groups = len(groups)

    def of(self, x: Array) -> Array:
        """Terms (n, n_terms) of inputs (n, k)."""
        z = x[:, self._numbers] - 0.5
        # On 0..1 the first has variance 1, the quadratic a sixteenth: bends are weaker than slopes.
        return np.concatenate(
            [3.46 * z, 3.35 * (z**2 - 1 / 12), x[:, self._categories], np.ones((len(x), 1))],
            axis=1,
        )


@dataclass(frozen=True)
class AdditiveModel:
    """A fitted additive model; ``predict`` gives the mean and its uncertainty without noise."""

    terms: Terms
    weights: Array
    root: Array  # (n_terms, n_terms): variance of a prediction is |root @ terms|^2
    center: float
    scale: float
    noise: float

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance at inputs (n, k); both shape (n,)."""
        terms = self.terms.of(x)
        variance = ((terms @ self.root.T) ** 2).sum(axis=1)
        return (
            self.center + self.scale * (terms @ self.weights),
            self.scale**2 * np.maximum(variance, 1e-9),
        )


def fit_additive(terms: Terms, x: Array, y: Array) -> AdditiveModel:
    """Fit term weights and their variances.

    Args:
        terms: The basis.
        x: Inputs (n, k).
        y: Targets (n,).

    Source: MacKay 1992, "Bayesian Interpolation", section 4, with one variance for each
    hyperparameter and log-normal priors on them.
    """
    center, scale = standard(y)
    target = (y - center) / scale
    phi = terms.of(x)
    gram, moment = phi.T @ phi, phi.T @ target
    energy, n = float(target @ target), len(y)
    is_term = terms.owner >= 0
    owner = np.where(is_term, terms.owner, 0)
    prior = np.append(np.full(terms.n_groups, -math.log(terms.n_groups)), _LOG_NOISE)
    width = np.append(np.full(terms.n_groups, _LOG_TERM_SD), _LOG_NOISE_SD)

    def solve(theta: Array) -> tuple[Array, Array, float, tuple[Array, bool]]:
        noise = math.exp(theta[-1]) + _NOISE_FLOOR
        # The constant is free: variance 1 on a standardised target.
        root_v = np.where(is_term, np.exp(0.5 * theta[:-1][owner]), 1.0)
        a = gram * root_v[:, None] * root_v[None, :] / noise
        a[np.diag_indices_from(a)] += 1.0
        factor = cho_factor(a, lower=True, check_finite=False)
        w = cho_solve(factor, root_v * moment / noise, check_finite=False)
        return root_v, w, noise, factor

    def loss(theta: Array) -> tuple[float, Array]:
        root_v, w, noise, factor = solve(theta)
        inverse = cho_solve(factor, np.eye(len(w)), check_finite=False)
        weights = root_v * w
        misfit = energy - 2 * weights @ moment + weights @ gram @ weights
        log_det = 2 * np.log(np.diag(factor[0])).sum() + n * math.log(noise)
        pull = (theta - prior) / width
        value = 0.5 * (misfit / noise + w @ w + log_det + pull @ pull)
        explained = 1.0 - np.diag(inverse)
        by_term = np.where(is_term, 0.5 * (explained - w**2), 0.0)
        gradient = pull / width
        gradient[:-1] += np.bincount(owner, by_term, minlength=terms.n_groups)
        by_noise = 0.5 * (n - explained.sum() - misfit / noise)
        gradient[-1] += by_noise * (noise - _NOISE_FLOOR) / noise
        return float(value), gradient

    best = minimize(loss, prior, jac=True, method="L-BFGS-B", options={"maxiter": _N_ITERATIONS}).x
    root_v, w, noise, factor = solve(best)
    root = solve_triangular(factor[0], np.diag(root_v), lower=True, check_finite=False)
    return AdditiveModel(terms, root_v * w, root, center, scale, noise * scale**2)
