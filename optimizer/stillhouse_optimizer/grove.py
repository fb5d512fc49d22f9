"""Regression trees for fANOVA: each on its own resampled trials, and the boxes of their leaves.

Depends on: numpy, scikit-learn.

Trees see measure coordinates: every parameter's distribution is uniform on 0..1 (a range on its
own, possibly logarithmic, scale; the k-th of K countable values at (k + 1/2) / K), so that the
share of a space that a box covers is the product of its sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeRegressor  # type: ignore[import-untyped]  # has no types

from stillhouse_optimizer.space import Rows, Space

Array = NDArray[np.float64]

_MIN_LEAF = 2
# A tree draws at most so many trials: more make it slower and, shared among trees, hardly better.
_MOST_TRIALS = 2_000
_SHARE_OF_FEATURES = 5 / 6


@dataclass(frozen=True)
class Boxes:
    """The leaves of one tree.

    Attributes:
        low: Lower sides (n_leaves, d).
        high: Upper sides (n_leaves, d).
        value: What each leaf predicts; shape (n_leaves,).
    """

    low: Array
    high: Array
    value: Array


@dataclass(frozen=True)
class Grove:
    """Trees, and how well they predict trials they were not grown on.

    Attributes:
        boxes: One for each tree.
        n_levels: How many countable values each parameter has; 0 for a continuous range; (d,).
        level_order: For each parameter the levels in the order in which trees see them.
        r2_oob: Out-of-bag R2: 1 is perfect, 0 no better than the mean. NaN without variance.
    """

    boxes: tuple[Boxes, ...]
    n_levels: NDArray[np.int64]
    level_order: tuple[NDArray[np.intp], ...]
    r2_oob: float


def grow(space: Space, rows: Rows, y: Array, n_trees: int, seed: int) -> Grove:
    """Grow a grove.

    Inactive values are drawn anew for every tree from the parameter's own distribution; a fixed
    stand-in would hand the parent's importance to its child (docs/optimiser.md). The values of a
    choice are ordered by their mean target, so that one split can part the good from the bad.

    Args:
        space: Of the rows.
        rows: Configs (n, d), NaN where inactive.
        y: Raw metric (n,), finite.
        n_trees: At least 1.
        seed: Of resampling and of the trees.
    """
    order = tuple(_level_order(space, j, rows[:, j], y) for j in range(rows.shape[1]))
    base = coordinates(space, rows, order)
    inactive = np.isnan(base)
    rng = np.random.default_rng(seed)
    n = len(y)
    boxes = []
    sums, counts = np.zeros(n), np.zeros(n)
    for _ in range(n_trees):
        drawn = coordinates(space, space.spread(rng.random(rows.shape)), order)
        x = np.where(inactive, drawn, base)
        chosen = rng.integers(n, size=min(n, _MOST_TRIALS))
        tree = DecisionTreeRegressor(
            min_samples_leaf=_MIN_LEAF,
            max_features=_SHARE_OF_FEATURES,
            random_state=int(rng.integers(2**31 - 1)),
        )
        tree.fit(x[chosen], y[chosen])
        out = np.ones(n, dtype=bool)
        out[chosen] = False
        if out.any():
            sums[out] += tree.predict(x[out])
            counts[out] += 1
        boxes.append(leaf_boxes(tree.tree_, space.n_levels))
    seen = counts > 0
    spread = float(((y[seen] - y[seen].mean()) ** 2).sum()) if seen.any() else 0.0
    error = float(((y[seen] - sums[seen] / counts[seen]) ** 2).sum())
    r2 = 1.0 - error / spread if spread > 0 else float("nan")
    return Grove(tuple(boxes), np.asarray(space.n_levels), order, r2)


def leaf_boxes(tree: Any, n_levels: NDArray[Any]) -> Boxes:
    """Leaves of scikit-learn's low-level tree, which has no types, level by level.

    Args:
        tree: ``DecisionTreeRegressor.tree_`` over measure coordinates.
        n_levels: As in ``Grove``: a split of a countable parameter is moved to the border between
            the levels that it parts.
    """
    d = len(n_levels)
    feature, left, right = tree.feature, tree.children_left, tree.children_right
    border = _borders(feature, tree.threshold, n_levels)
    low, high = np.zeros((tree.node_count, d)), np.ones((tree.node_count, d))
    level = np.array([0])
    while len(level):
        inner = level[left[level] >= 0]
        a, b, f = left[inner], right[inner], feature[inner]
        low[a], high[a] = low[inner], high[inner]
        low[b], high[b] = low[inner], high[inner]
        high[a, f] = border[inner]
        low[b, f] = border[inner]
        level = np.concatenate([a, b])
    leaf = left < 0
    return Boxes(low[leaf], high[leaf], tree.value[leaf, 0, 0].astype(float))


def _borders(feature: NDArray[Any], threshold: Array, n_levels: NDArray[Any]) -> Array:
    border = np.clip(threshold.copy(), 0.0, 1.0)
    for j in np.flatnonzero(n_levels):
        k = int(n_levels[j])
        # scikit-learn compares single-precision values with the threshold.
        places = ((np.arange(k) + 0.5) / k).astype(np.float32).astype(float)
        at = feature == j
        border[at] = np.searchsorted(places, threshold[at], side="right") / k
    return border


def _level_order(space: Space, j: int, column: Array, y: Array) -> NDArray[np.intp]:
    """Levels of a choice by mean target (unseen ones at the overall mean); others as they are."""
    n = max(int(space.n_levels[j]), 1)
    if space.parameters[j].kind != "choice":
        return np.arange(n, dtype=np.intp)
    means = np.full(n, y.mean())
    for level in range(n):
        at = column == level
        if at.any():
            means[level] = y[at].mean()
    return np.argsort(means, kind="stable")


def expected(boxes: Sequence[Boxes], at: Array) -> Array:
    """Mean prediction of trees, inactive parameters averaged out.

    Args:
        boxes: Leaves of each tree.
        at: Measure coordinates (n, d), NaN where inactive. Quickest where few columns differ from
            those of the first row.

    Returns:
        Shape (n,).
    """
    at = np.minimum(at, np.nextafter(1.0, 0.0))
    is_known = ~np.isnan(at)
    same = (at == at[0]) | ~(is_known | is_known[0])
    n_changed = int((~same).sum(axis=1).max())
    told = np.zeros(len(at))
    for box in boxes:
        outside = (at[0] < box.low) | (at[0] >= box.high)  # False where unknown
        near = outside.sum(axis=1) <= n_changed
        low, high = box.low[near], box.high[near]
        weight = np.ones((len(at), len(low)))
        for j in np.flatnonzero((low > 0.0).any(axis=0) | (high < 1.0).any(axis=0)):
            x = at[:, j : j + 1]
            inside = (x >= low[:, j]) & (x < high[:, j])
            weight *= np.where(is_known[:, j : j + 1], inside, high[:, j] - low[:, j])
        told += weight @ box.value[near]
    return told / len(boxes)


def coordinates(space: Space, rows: Rows, order: tuple[NDArray[np.intp], ...]) -> Array:
    """Measure coordinates of rows; NaN stays NaN."""
    x = rows.copy()
    for j, codes in enumerate(space.codes):
        if codes is None:
            continue
        rank = np.empty(len(codes) + 1)
        rank[order[j]] = (np.arange(len(codes)) + 0.5) / len(codes)
        rank[-1] = np.nan
        level = np.searchsorted(codes, np.nan_to_num(rows[:, j]) - 1e-9)
        x[:, j] = rank[np.where(np.isnan(rows[:, j]), -1, level)]
    return x
