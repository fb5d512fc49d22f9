"""SMAC's random forest as a model of one metric.

Depends on: smac, scikit-learn, ConfigSpace, numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import sklearn  # type: ignore[import-untyped]  # has no types
from ConfigSpace import ConfigurationSpace, Float
from numpy.typing import NDArray
from smac.model.random_forest.random_forest import RandomForest

Array = NDArray[np.float64]

_N_TREES = 40
_SHARE_OF_FEATURES = 0.8
# Trials that one tree sees at most, of residuals and of a metric itself: keeps the time of a fit
# flat.
RESIDUAL_SAMPLES, PLAIN_SAMPLES = 256, 1024
# Below this no prediction of a standardised target is believed.
_MIN_VARIANCE = 1e-6


class Model(Protocol):
    """A fitted model of one metric."""

    @property
    def noise(self) -> float:
        """Variance of one measurement around the truth, in squared units of the target."""
        ...

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance (without noise, above 0) at inputs (n, k); both shape (n,)."""
        ...


@dataclass(frozen=True)
class ForestModel:
    """A fitted SMAC forest with its target's scale."""

    trees: tuple[Any, ...]  # scikit-learn's low-level trees; it has no types
    center: float
    scale: float
    noise: float = 0.0

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean over trees and variance between trees; both shape (n,).

        The same numbers as SMAC's ``predict``, without a joblib call for every tree and batch.
        """
        single = x.astype(np.float32)
        by_tree = np.stack([tree.predict(single)[:, 0] for tree in self.trees])
        mean, variance = by_tree.mean(axis=0), by_tree.var(axis=0)
        return (
            self.center + self.scale * mean,
            self.scale**2 * np.maximum(variance, _MIN_VARIANCE),
        )


def fit_forest(x: Array, y: Array, seed: int, most_samples: int | None = None) -> ForestModel:
    """Fit SMAC's forest.

    Args:
        x: Inputs (n, k), finite.
        y: Targets (n,), finite.
        seed: Of bootstrap and feature draws.
        most_samples: How many trials a tree is grown on at most.

    Source: Hutter, Hoos & Leyton-Brown 2011 (SMAC), section 4.1, for the forest and its variance.
    Departures: trees are not preallocated for 2**20 leaves, which costs 0.65 s a fit at any n, and
    run in this thread (SMAC's ``n_jobs=-1`` starts threads for every predicted batch).
    """
    center, scale = standard(y)
    space = ConfigurationSpace()
    space.add([Float(f"x{i:04d}", (0.0, 1.0)) for i in range(x.shape[1])])
    forest = RandomForest(
        space,
        n_trees=_N_TREES,
        ratio_features=_SHARE_OF_FEATURES,
        max_leaf_nodes=None,  # type: ignore[arg-type]  # scikit-learn's "no limit"
        max_samples=most_samples if most_samples and len(y) > most_samples else None,
        n_jobs=1,
        seed=seed,
    )
    # Its inputs are ours: checking them costs a third of a small fit.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        forest.train(x, ((y - center) / scale)[:, None])
    fitted = forest._rf
    assert fitted is not None
    return ForestModel(tuple(tree.tree_ for tree in fitted.estimators_), center, scale)


def standard(y: Array) -> tuple[float, float]:
    """Mean and standard deviation; 1 for a target that does not vary."""
    scale = float(y.std())
    return float(y.mean()), scale if scale > 1e-12 * max(1.0, float(np.abs(y).max())) else 1.0
