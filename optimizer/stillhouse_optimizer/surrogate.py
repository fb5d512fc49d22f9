"""The models of one metric that a problem can name, fitted by one call.

Depends on: numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.additive import AdditiveModel, Terms, fit_additive
from stillhouse_optimizer.forest import (
    PLAIN_SAMPLES,
    RESIDUAL_SAMPLES,
    ForestModel,
    Model,
    fit_forest,
)
from stillhouse_optimizer.gp import fit_gp

Array = NDArray[np.float64]

# ``auto`` judges by the last ten trials, when there are enough before them, and until the process
# costs more time than it saves trials.
_N_JUDGED = 10
_FEWEST_JUDGED, _MOST_JUDGED = 25, 200


@dataclass(frozen=True)
class AdditiveForest:
    """An additive model with SMAC's forest on what it leaves unexplained."""

    additive: AdditiveModel
    forest: ForestModel
    noise: float

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Sums of both parts' means and variances; both shape (n,)."""
        mean, variance = self.additive.predict(x)
        rest, rest_variance = self.forest.predict(x)
        return mean + rest, variance + rest_variance

    def believing(self, x: Array) -> AdditiveForest:
        """More certain of its additive part; means at x leave no residual to learn from."""
        return replace(self, additive=self.additive.believing(x))


def fit(name: str, terms: Terms, x: Array, y: Array, seed: int) -> Model:
    """Fit the surrogate ``name`` to one metric.

    Args:
        name: ``forest``, ``forest_plain``, ``gp`` or ``auto`` (of ``forest`` and ``gp`` the one
            that predicted this metric better in the last trials).
        terms: Basis of the additive part.
        x: Inputs (n, k), in the order of the trials.
        y: Targets (n,), at least two.
        seed: Of the forest.
    """
    if name == "auto":
        name = _better(terms, x, y, seed)
    if name == "forest_plain":
        return fit_forest(x, y, seed, PLAIN_SAMPLES, "best")
    if name == "gp":
        return fit_gp(terms, x, y)
    return with_forest(fit_additive(terms, x, y), x, y, seed)


def with_forest(additive: AdditiveModel, x: Array, y: Array, seed: int) -> AdditiveForest:
    """An additive model and a forest on what it leaves unexplained of y (n,) at x (n, k)."""
    forest = fit_forest(x, y - additive.predict(x)[0], seed, RESIDUAL_SAMPLES)
    return AdditiveForest(additive, forest, additive.noise)


def _better(terms: Terms, x: Array, y: Array, seed: int) -> str:
    """Which model, fitted to all but the last trials, gave those the higher likelihood."""
    if not _FEWEST_JUDGED <= len(y) <= _MOST_JUDGED:
        return "gp" if len(y) < _FEWEST_JUDGED else "forest"
    n_known = len(y) - _N_JUDGED
    scores = {}
    for name in ("gp", "forest"):
        model = fit(name, terms, x[:n_known], y[:n_known], seed)
        mean, variance = model.predict(x[n_known:])
        variance = variance + model.noise
        scores[name] = -float((np.log(variance) + (y[n_known:] - mean) ** 2 / variance).sum())
    return max(scores, key=lambda name: scores[name])
