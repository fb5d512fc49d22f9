"""A Gaussian process: an additive part for each hyperparameter and a smooth one over all of them.

Depends on: numpy, scipy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular  # type: ignore[import-untyped]  # scipy has no types
from scipy.optimize import minimize  # type: ignore[import-untyped]  # scipy has no types

from stillhouse_optimizer.additive import Terms
from stillhouse_optimizer.forest import standard

Array = NDArray[np.float64]

_NOISE_FLOOR = 1e-6
_N_ITERATIONS = 40
# Settings are learned on at most this many trials and used on at most that many.
_MOST_LEARNED, _MOST_USED = 150, 300
_ROOT_5 = math.sqrt(5.0)


@dataclass(frozen=True)
class _Settings:
    """What is learned, for standardised targets."""

    smooth: float  # variance of the smooth part
    inverse_length: Array  # of each input column
    term: Array  # variance of each additive term
    noise: float  # variance


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process; ``predict`` gives the mean and its uncertainty without noise."""

    terms: Terms
    settings: _Settings
    scaled: Array  # training inputs times inverse lengths (n, k)
    basis: Array  # training terms (n, n_terms)
    target: Array  # standardised (n,)
    factor: tuple[Array, bool]
    weights: Array
    center: float
    scale: float

    @property
    def noise(self) -> float:
        """Variance of one measurement in squared units of the target."""
        return self.settings.noise * self.scale**2

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance at inputs (n, k); both shape (n,)."""
        at = x * self.settings.inverse_length
        square = (at**2).sum(axis=1)[:, None] + (self.scaled**2).sum(axis=1)
        square = np.maximum(square - 2 * at @ self.scaled.T, 0.0)
        basis = self.terms.of(x)
        cross = self.settings.smooth * _matern(square)[0]
        cross += (basis * self.settings.term) @ self.basis.T
        solved = solve_triangular(self.factor[0], cross.T, lower=True, check_finite=False)
        prior = self.settings.smooth + basis**2 @ self.settings.term
        variance = np.maximum(prior - (solved**2).sum(axis=0), 1e-9)
        return self.center + self.scale * (cross @ self.weights), self.scale**2 * variance

    def believing(self, x: Array) -> GaussianProcess:
        """The same means, and the certainty there would be with one more trial at each of x."""
        return _stand(
            self.terms,
            self.settings,
            np.concatenate([self.scaled, x * self.settings.inverse_length]),
            np.concatenate([self.basis, self.terms.of(x)]),
            np.concatenate([self.target, (self.predict(x)[0] - self.center) / self.scale]),
            self.center,
            self.scale,
        )


def fit_gp(terms: Terms, x: Array, y: Array) -> GaussianProcess:
    """Fit by maximum a posteriori from the prior's centre.

    Args:
        terms: Basis of the additive part; its owners say which input columns belong together.
        x: Inputs (n, k).
        y: Targets (n,).

    Source: Rasmussen & Williams 2006, section 2.7 (explicit basis with a prior) and equation 5.9
    (gradients); prior of the lengths growing with the dimension as in Hvarfner et al. 2024,
    "Vanilla Bayesian Optimization Performs Great in High Dimensions", section 4.
    """
    center, scale = standard(y)
    target = (y - center) / scale
    if len(y) > _MOST_LEARNED:
        some = np.unique(np.linspace(0, len(y) - 1, _MOST_LEARNED).round().astype(int))
        settings = _learn(terms, x[some], target[some])
    else:
        settings = _learn(terms, x, target)
    if len(y) > _MOST_USED:  # the newest lie where the search is
        x, target = x[-_MOST_USED:], target[-_MOST_USED:]
    scaled, basis = x * settings.inverse_length, terms.of(x)
    return _stand(terms, settings, scaled, basis, target, center, scale)


def _stand(
    terms: Terms,
    settings: _Settings,
    scaled: Array,
    basis: Array,
    target: Array,
    center: float,
    scale: float,
) -> GaussianProcess:
    square = (scaled**2).sum(axis=1)
    distance = np.maximum(square[:, None] + square - 2 * scaled @ scaled.T, 0.0)
    kernel = settings.smooth * _matern(distance)[0] + (basis * settings.term) @ basis.T
    kernel[np.diag_indices_from(kernel)] += settings.noise
    factor = cho_factor(kernel, lower=True, check_finite=False)
    weights = cho_solve(factor, target, check_finite=False)
    return GaussianProcess(terms, settings, scaled, basis, target, factor, weights, center, scale)


def _learn(terms: Terms, x: Array, target: Array) -> _Settings:
    g, n, n_owners = len(terms.groups), len(target), len(terms.log_variance)
    distances = np.stack(
        [((x[:, None, c] - x[None, :, c]) ** 2).sum(axis=2) for c in terms.groups]
    ).reshape(g, n * n)
    basis = terms.of(x)
    is_term = terms.owner >= 0
    owner = np.where(is_term, terms.owner, 0)
    middle = np.concatenate(
        [
            [math.log(0.5)],
            np.full(g, -(math.log(0.5) + 0.5 * math.log(g))),
            terms.log_variance,
            [-5.0],
        ]
    )
    width = np.concatenate([[1.5], np.full(g, 1.0), np.full(n_owners, 1.5), [1.5]])

    def unpack(theta: Array) -> tuple[float, Array, Array, float]:
        term = np.where(is_term, np.exp(theta[1 + g : -1][owner]), 1.0)
        return (
            math.exp(theta[0]),
            np.exp(theta[1 : 1 + g]),
            term,
            math.exp(theta[-1]) + _NOISE_FLOOR,
        )

    def loss(theta: Array) -> tuple[float, Array]:
        smooth, inverse, term, noise = unpack(theta)
        matern, slope = _matern((inverse**2 @ distances).reshape(n, n))
        kernel = smooth * matern + (basis * term) @ basis.T
        kernel[np.diag_indices(n)] += noise
        factor = cho_factor(kernel, lower=True, check_finite=False)
        alpha = cho_solve(factor, target, check_finite=False)
        pull = (theta - middle) / width
        log_det = 2 * np.log(np.diag(factor[0])).sum()
        value = 0.5 * (target @ alpha + log_det + pull @ pull)
        w = cho_solve(factor, np.eye(n), check_finite=False) - np.outer(alpha, alpha)
        gradient = pull / width
        gradient[0] += 0.5 * smooth * (w * matern).sum()
        gradient[1 : 1 + g] += smooth * inverse**2 * (distances @ (w * slope).ravel())
        by_term = 0.5 * term * ((w @ basis) * basis).sum(axis=0)
        gradient[1 + g : -1] += np.bincount(owner, by_term * is_term, minlength=n_owners)
        gradient[-1] += 0.5 * (noise - _NOISE_FLOOR) * np.trace(w)
        return float(value), gradient

    theta = minimize(
        loss,
        middle,
        jac=True,
        method="L-BFGS-B",
        bounds=[(m - 8.0, m + 8.0) for m in middle],
        options={"maxiter": _N_ITERATIONS},
    ).x
    smooth, inverse, term, noise = unpack(theta)
    length = np.ones(x.shape[1])
    for group, value in zip(terms.groups, inverse, strict=True):
        length[group] = value
    return _Settings(smooth, length, term, noise)


def _matern(square: Array) -> tuple[Array, Array]:
    """Matern 5/2 of squared distances and its slope in the squared distance."""
    r = _ROOT_5 * np.sqrt(square)
    decay = np.exp(-r)
    return (1.0 + r + r * r / 3.0) * decay, -5.0 / 6.0 * (1.0 + r) * decay
