"""The models of one metric that a problem can name, fitted by one call.

Depends on: numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.additive import AdditiveModel, Terms, fit_additive
from stillhouse_optimizer.forest import ForestModel, Model, fit_forest

Array = NDArray[np.float64]


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


def fit(name: str, terms: Terms, x: Array, y: Array, seed: int) -> Model:
    """Fit the surrogate ``name`` to one metric.

    Args:
        name: ``forest`` or ``forest_plain``.
        terms: Basis of the additive part.
        x: Inputs (n, k).
        y: Targets (n,), at least two.
        seed: Of the forest.
    """
    if name == "forest_plain":
        return fit_forest(x, y, seed)
    additive = fit_additive(terms, x, y)
    forest = fit_forest(x, y - additive.predict(x)[0], seed)
    return AdditiveForest(additive, forest, additive.noise)
