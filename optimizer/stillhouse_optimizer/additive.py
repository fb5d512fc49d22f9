"""The additive part of a model: a bent line for each range, a level for each category.

Where the caller says which parameters are layers (what is removed of each), their effects are
expected to be alike, and all other effects to grow with what is removed altogether: a bad training
costs a thinned network more than a dense one.

Depends on: numpy, scipy.

Each hyperparameter contributes a linear and a quadratic term of its own; how much it may contribute
is learned by type-II maximum a posteriori. Works in the terms' own space, so that the time grows
linearly with the number of trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import (  # type: ignore[import-untyped]  # scipy has no types
    dpotrf,
    dpotri,
    dpotrs,
    dtrtri,
)
from scipy.optimize import minimize  # type: ignore[import-untyped]  # scipy has no types

from stillhouse_optimizer.forest import standard

Array = NDArray[np.float64]

# Prior of log noise variance and spread of log term variances, targets standardised.
_LOG_NOISE, _LOG_NOISE_SD = -5.0, 1.5
_LOG_TERM_SD = 1.5
_NOISE_FLOOR = 1e-6
_N_ITERATIONS = 40
# So far from its prior a logarithm may count, eight times the prior's spread: a search that leaps
# further, as L-BFGS now and then does between two valleys, must come back, not overflow.
_FURTHEST = 12.0
# Log of the variance that is expected of a term that explains much, and of an interaction; targets
# standardised.
_STRONG, _INTERACTION = -0.5, -5.0


class Basis(Protocol):
    """What an additive model is a weighted sum of; see ``Terms`` for its attributes."""

    owner: NDArray[np.intp]
    log_variance: Array

    def of(self, x: Array) -> Array:
        """Terms (n, n_terms) of inputs (n, k)."""
        ...


class Terms:
    """Basis functions of inputs: for a number z = x - 1/2 the first two Legendre polynomials.

    Attributes:
        owner: For each term its owner: a group of inputs, what layers have in common, or all
            interactions; the constant, last, belongs to none (-1).
        groups: Input columns of each group.
        log_variance: For each owner the logarithm of the variance that is expected of its terms.
    """

    def __init__(
        self,
        groups: Sequence[NDArray[np.intp]],
        is_category: Sequence[bool],
        layers: Sequence[int] = (),
        strong: Sequence[int] = (),
    ) -> None:
        """Lay out the terms.

        Args:
            groups: Input columns of each hyperparameter and feature.
            is_category: Which groups are one-hot.
            layers: Groups of one kind (what is removed of each layer): their terms are expected to
                be alike, each a common value and a deviation of its own.
            strong: Groups that are expected to explain much on their own.
        """
        self._numbers = np.array(
            [g[0] for g, c in zip(groups, is_category, strict=True) if not c], dtype=np.intp
        )
        self._categories = np.array(
            [k for g, c in zip(groups, is_category, strict=True) if c for k in g], dtype=np.intp
        )
        owner = {int(k): i for i, group in enumerate(groups) for k in group}
        numbers = [owner[int(k)] for k in self._numbers]
        alike = np.flatnonzero(np.isin(numbers, layers))
        self._layers = alike if len(alike) > 1 else None
        common = [] if self._layers is None else [len(groups), len(groups)]
        categories = [owner[int(k)] for k in self._categories]
        each = [*numbers, *numbers, *categories]
        n_owners = len(groups) + len(common) // 2
        is_other = ~np.isin(each, [*layers, *strong]) if common else np.zeros(len(each), dtype=bool)
        self._scaled = np.flatnonzero(is_other)
        interactions = [n_owners] * len(self._scaled)
        self.owner = np.array([*each, *common, *interactions, -1], dtype=np.intp)
        self.groups = tuple(groups)
        # The models of all metrics see the same inputs, one after the other.
        self._last: tuple[Array, Array] | None = None
        self.log_variance = np.full(n_owners + bool(interactions), -math.log(len(groups)))
        self.log_variance[[*strong, *common[:1]]] = _STRONG
        if interactions:
            self.log_variance[-1] = _INTERACTION

    def of(self, x: Array) -> Array:
        """Terms (n, n_terms) of inputs (n, k); inputs do not change once they were given."""
        if self._last is None or self._last[0] is not x:
            self._last = x, self._of(x)
        return self._last[1]

    def _of(self, x: Array) -> Array:
        z = x[:, self._numbers] - 0.5
        # On 0..1 the first has variance 1, the quadratic a sixteenth: bends are weaker than slopes.
        slopes, bends = 3.46 * z, 3.35 * (z**2 - 1 / 12)
        parts = [slopes, bends, x[:, self._categories]]
        if self._layers is not None:
            root = len(self._layers) ** -0.5
            slope, bend = (root * p[:, self._layers].sum(axis=1)[:, None] for p in parts[:2])
            every = np.concatenate(parts, axis=1)
            parts += [slope, bend, slope * every[:, self._scaled]]
        return np.concatenate([*parts, np.ones((len(x), 1))], axis=1)


@dataclass(frozen=True)
class AdditiveModel:
    """A fitted additive model; ``predict`` gives the mean and its uncertainty without noise."""

    terms: Basis
    weights: Array
    prior_root: Array  # standard deviation of each weight before any trial (n_terms,)
    precision: Array  # (n_terms, n_terms), of weights over prior_root
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

    def believing(self, x: Array) -> AdditiveModel:
        """The same means, and the certainty there would be with one more trial at each of x."""
        scaled = self.terms.of(x) * self.prior_root
        precision = self.precision + scaled.T @ scaled * (self.scale**2 / self.noise)
        return replace(self, precision=precision, root=root_of(precision, self.prior_root))


def fit_additive(terms: Basis, x: Array, y: Array) -> AdditiveModel:
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
    n_owners = len(terms.log_variance)
    prior = np.append(terms.log_variance, _LOG_NOISE)
    width = np.append(np.full(n_owners, _LOG_TERM_SD), _LOG_NOISE_SD)

    def solve(theta: Array) -> tuple[Array, Array, float, Array, Array]:
        theta = np.clip(theta, prior - _FURTHEST, prior + _FURTHEST)
        noise = math.exp(theta[-1]) + _NOISE_FLOOR
        # The constant is free: variance 1 on a standardised target.
        root_v = np.where(is_term, np.exp(0.5 * theta[:-1][owner]), 1.0)
        a = gram * (root_v[:, None] * root_v / noise)
        a.ravel()[:: len(a) + 1] += 1.0
        factor, _ = dpotrf(a, lower=1)
        w, _ = dpotrs(factor, root_v * moment / noise, lower=1)
        return root_v, w, noise, a, factor

    def loss(theta: Array) -> tuple[float, Array]:
        root_v, w, noise, _, factor = solve(theta)
        inverse, _ = dpotri(factor, lower=1)
        weights = root_v * w
        misfit = energy - 2 * weights @ moment + weights @ gram @ weights
        log_det = 2 * np.log(factor.diagonal()).sum() + n * math.log(noise)
        pull = (theta - prior) / width
        value = 0.5 * (misfit / noise + w @ w + log_det + pull @ pull)
        explained = 1.0 - inverse.diagonal()
        by_term = np.where(is_term, 0.5 * (explained - w**2), 0.0)
        by_noise = 0.5 * (n - explained.sum() - misfit / noise)
        by_owner = np.bincount(owner, by_term, minlength=n_owners)
        gradient = np.append(by_owner, by_noise * (noise - _NOISE_FLOOR) / noise)
        gradient[np.abs(theta - prior) > _FURTHEST] = 0.0
        return float(value), gradient + pull / width

    best = minimize(loss, prior, jac=True, method="L-BFGS-B", options={"maxiter": _N_ITERATIONS}).x
    root_v, w, noise, precision = solve(best)[:4]
    root = root_of(precision, root_v)
    return AdditiveModel(
        terms, root_v * w, root_v, precision, root, center, scale, noise * scale**2
    )


def root_of(precision: Array, prior_root: Array) -> Array:
    """``AdditiveModel.root`` of its precision and the deviations that this is relative to."""
    factor, _ = dpotrf(precision, lower=1)
    return np.asarray(np.tril(dtrtri(factor, lower=1)[0]) * prior_root)
