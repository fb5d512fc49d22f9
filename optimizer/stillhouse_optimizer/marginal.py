"""Marginal curves: a metric over one parameter, all others averaged out where it is active.

Depends on: numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.fanova import Decomposition, evaluate
from stillhouse_optimizer.grove import Boxes, Grove
from stillhouse_optimizer.parameter import Value
from stillhouse_optimizer.space import Space

Array = NDArray[np.float64]

N_POINTS = 33


@dataclass(frozen=True)
class Curve:
    """What the metric is expected to be at values of one parameter, all others averaged out.

    Attributes:
        x: Values on the parameter's own scale, ascending (a choice: in its own order).
        mean: Expected metric at each, in its own unit.
        sd: Standard deviation between trees, each grown on resampled trials.
    """

    x: tuple[Value, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]


class Region:
    """Where a conditional parameter is active: a product of sets of its ancestors' levels.

    The measure of each set is that of the parameters' own distributions; forbidden combinations
    are not taken out.
    """

    def __init__(self, space: Space, grove: Grove, j: int) -> None:
        """Read the conditions of the ``j``-th parameter, its ancestors' included."""
        self._j = j
        self._covered = {}
        for parent, levels in space.active_levels(j).items():
            allowed = levels[grove.level_order[parent]]
            if allowed.any():
                self._covered[parent] = np.concatenate([[0], np.cumsum(allowed)]) / allowed.sum()

    @property
    def is_everything(self) -> bool:
        """Whether the parameter is always active."""
        return not self._covered

    def shares(self, boxes: Boxes) -> Array:
        """Share of the region that each leaf covers along each parameter; (n_leaves, d)."""
        shares = boxes.high - boxes.low
        for parent, covered in self._covered.items():
            n = len(covered) - 1
            low = np.rint(boxes.low[:, parent] * n).astype(int)
            high = np.rint(boxes.high[:, parent] * n).astype(int)
            shares[:, parent] = covered[high] - covered[low]
        return shares

    def marginal(self, boxes: Boxes, at: Array) -> Array:
        """The parameter's marginal over the region, at measure coordinates; shape of ``at``."""
        weight = boxes.value * np.delete(self.shares(boxes), self._j, axis=1).prod(axis=1)
        low, high = boxes.low[:, self._j], boxes.high[:, self._j]
        inside = (at[:, None] >= low) & ((at[:, None] < high) | (high >= 1.0))
        return np.asarray(inside @ weight)

    def importance(self, boxes: Boxes, edges: Array) -> float:
        """Share of the variance over the region that the parameter explains alone.

        Args:
            boxes: One tree's leaves.
            edges: Where that tree's marginal may change, 0 and 1 included.
        """
        share = self.shares(boxes).prod(axis=1)
        mean = float(boxes.value @ share)
        total = float(boxes.value**2 @ share) - mean**2
        if total <= 1e-12 * max(1.0, mean**2):
            return 0.0
        level = self.marginal(boxes, (edges[1:] + edges[:-1]) / 2)
        return float(((level - mean) ** 2) @ np.diff(edges)) / total


def curve_of(space: Space, grove: Grove, trees: Sequence[Decomposition], j: int) -> Curve:
    """The ``j``-th parameter's curve over the region in which it is active."""
    x, at = grid_of(space, grove, j)
    region = Region(space, grove, j)
    if region.is_everything:
        values = np.array([evaluate(part, j, at) for part in trees])
    else:
        values = np.array([region.marginal(boxes, at) for boxes in grove.boxes])
    return Curve(x, tuple(values.mean(axis=0).tolist()), tuple(values.std(axis=0).tolist()))


def grid_of(space: Space, grove: Grove, j: int) -> tuple[tuple[Value, ...], Array]:
    """Values of a parameter worth a point of a curve, and their measure coordinates."""
    codes = space.codes[j]
    if codes is None:
        at = np.linspace(0.0, 1.0, N_POINTS)
        return tuple(space.value_of(j, float(code)) for code in at), at
    n = len(codes)
    level = np.arange(n)
    if not space.is_listed[j] and n > N_POINTS:
        level = np.unique(np.linspace(0, n - 1, N_POINTS).round().astype(int))
    rank = np.empty(n)
    rank[grove.level_order[j]] = np.arange(n)
    return tuple(space.parameters[j].value_at(int(i)) for i in level), (rank[level] + 0.5) / n
