"""SMAC's random forest as a model of one metric.

Depends on: smac, scikit-learn, numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble._gradient_boosting import (  # type: ignore[import-untyped]  # has no types
    predict_stages,
)
from sklearn.tree._criterion import MSE  # type: ignore[import-untyped]  # has no types
from sklearn.tree._splitter import (  # type: ignore[import-untyped]  # has no types
    BestSplitter,
    RandomSplitter,
)
from sklearn.tree._tree import (  # type: ignore[import-untyped]  # has no types
    DepthFirstTreeBuilder,
    Tree,
)
from smac.model.random_forest.random_forest import RandomForest

Array = NDArray[np.float64]

_N_TREES = 40
_SHARE_OF_FEATURES = 0.8
_SPLITTERS = {"best": BestSplitter, "random": RandomSplitter}
_SMACS = {name: p.default for name, p in signature(RandomForest).parameters.items()}
_MIN_LEAF, _MIN_SPLIT = _SMACS["min_samples_leaf"], _SMACS["min_samples_split"]
_DEEPEST, _LEAST_DECREASE = _SMACS["max_depth"], _SMACS["min_impurity_decrease"]
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

    def believing(self, x: Array) -> Model:
        """This model as if one more trial at each of x (n, k) had measured what it expects."""
        ...


@dataclass(frozen=True)
class _Grown:
    """A tree where scikit-learn looks for one."""

    tree_: Any  # scikit-learn's low-level tree; it has no types


@dataclass(frozen=True)
class ForestModel:
    """A fitted SMAC forest with its target's scale."""

    trees: NDArray[np.object_]  # of _Grown, shape (1, n_trees)
    center: float
    scale: float
    regrow: Callable[[Array, Array], ForestModel]  # on further trials too
    noise: float = 0.0

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean over trees and variance between trees; both shape (n,).

        The same numbers as SMAC's ``predict``, without a joblib call for every tree and batch; all
        trees in one call, as boosting asks its own.
        """
        by_tree = np.zeros((self.trees.shape[1], len(x)))
        predict_stages(self.trees, np.ascontiguousarray(x, dtype=np.float32), 1.0, by_tree.T)
        mean, variance = by_tree.mean(axis=0), by_tree.var(axis=0)
        return (
            self.center + self.scale * mean,
            self.scale**2 * np.maximum(variance, _MIN_VARIANCE),
        )

    def believing(self, x: Array) -> ForestModel:
        """Grown anew, with its own means at x among the trials."""
        return self.regrow(x, self.predict(x)[0])


def fit_forest(
    x: Array, y: Array, seed: int, most_samples: int | None = None, splits: str = _SMACS["splitter"]
) -> ForestModel:
    """Fit SMAC's forest.

    Args:
        x: Inputs (n, k), finite.
        y: Targets (n,), finite.
        seed: Of bootstrap and feature draws.
        most_samples: How many trials a tree is grown on at most.
        splits: ``random`` (SMAC's setting: one random threshold for each input considered, which
            takes a third of the time) or ``best`` (what SMAC 2.4 really grows: it does not hand its
            setting on to its trees).

    Source: Hutter, Hoos & Leyton-Brown 2011 (SMAC), section 4.1, for the forest and its variance.
    With ``best`` the trees are those of ``smac.model.random_forest.RandomForest`` for the same
    seed, node by node (a test compares them); settings are SMAC's own. Its class is not called: of
    its 7 ms a tree scikit-learn's cloning and checking of estimators take six, it preallocates each
    tree for 2**20 leaves, and it starts threads for every predicted batch.
    """
    center, scale = standard(y)
    target = ((y - center) / scale)[:, None]
    inputs = x.astype(np.float32)
    n, n_inputs = x.shape
    n_drawn = min(n, most_samples or n)
    draws = np.random.RandomState(seed).randint(np.iinfo(np.int32).max, size=_N_TREES)
    trees = []
    one_class = np.ones(1, dtype=np.intp)
    random = np.random.RandomState(0)  # to make one takes as long as to grow a small tree
    for draw in draws.tolist():
        # scikit-learn seeds the bootstrap and the tree alike.
        random.seed(draw)
        times = np.bincount(random.randint(0, n, n_drawn), minlength=n)
        random.seed(draw)
        chosen = np.flatnonzero(times)
        splitter = _SPLITTERS[splits](
            MSE(1, len(chosen)),
            max(1, int(n_inputs * _SHARE_OF_FEATURES)),
            _MIN_LEAF,
            0.0,  # least weight of a leaf
            random,
            None,  # no monotonic inputs
        )
        builder = DepthFirstTreeBuilder(
            splitter, max(_MIN_SPLIT, 2 * _MIN_LEAF), _MIN_LEAF, 0.0, _DEEPEST, _LEAST_DECREASE
        )
        tree = Tree(n_inputs, one_class, 1)
        weight = times[chosen].astype(float)
        builder.build(tree, inputs[chosen], target[chosen], weight, None)
        trees.append(_Grown(tree))

    def regrow(more_x: Array, more_y: Array) -> ForestModel:
        every = np.concatenate([x, more_x]), np.concatenate([y, more_y])
        return fit_forest(*every, seed, most_samples, splits)

    return ForestModel(np.array([trees], dtype=object), center, scale, regrow)


def standard(y: Array) -> tuple[float, float]:
    """Mean and standard deviation; 1 for a target that does not vary."""
    scale = float(y.std())
    return float(y.mean()), scale if scale > 1e-12 * max(1.0, float(np.abs(y).max())) else 1.0
