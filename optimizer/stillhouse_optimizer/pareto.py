"""Dominance among points, and the space that a front leaves free: geometry alone.

Depends on: numpy. Every coordinate is minimised.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_Strip = tuple[float, float, float, float]  # low and high of x, high of y, where z begins


def is_dominated(points: Array) -> Mask:
    """Which points another one dominates: no worse in any coordinate, better in one; shape (n,).

    Args:
        points: Shape (n, m). Equal points do not dominate one another.
    """
    if points.shape[1] == 1:
        return np.asarray(points[:, 0] > points[:, 0].min(initial=np.inf))
    dominated = np.zeros(len(points), dtype=bool)
    # A point is dominated by an earlier one of this order or by none.
    order = np.lexsort(points.T[::-1])
    front: list[int] = []
    for i in order.tolist():
        kept = points[front]
        beats = (kept <= points[i]).all(axis=1) & (kept < points[i]).any(axis=1)
        dominated[i] = bool(beats.any())
        if not dominated[i]:
            front.append(i)
    return dominated


def free_boxes(points: Array, reference: Array) -> tuple[Array, Array]:
    """What lies below a reference point and is dominated by no point, as disjoint boxes.

    Args:
        points: Shape (n, m), m from 1 to 3; those that do not lie below the reference in every
            coordinate take nothing away.
        reference: Shape (m,).

    Returns:
        Lower and upper corners (n_boxes, m); a lower one may be minus infinity. There are about
        as many boxes as points on the front for m = 2, at most some three times as many for 3.

    Source: for m = 3 a sweep as in Lacour, Klamroth & Fonseca 2017, "A box decomposition
    algorithm to compute the hypervolume indicator", with boxes closed as points cut them.
    """
    inside = points[(points < reference).all(axis=1)]
    front = np.unique(inside[~is_dominated(inside)], axis=0)
    m = len(reference)
    if m == 1:
        top = front[:1, 0] if len(front) else reference
        return np.full((1, 1), -np.inf), top.reshape(1, 1)
    if m == 2:
        x = np.concatenate([[-np.inf], front[:, 0], reference[:1]])
        y = np.concatenate([reference[1:], front[:, 1]])
        low = np.stack([x[:-1], np.full(len(y), -np.inf)], axis=1)
        return low, np.stack([x[1:], y], axis=1)
    return _sweep(front[np.argsort(front[:, 2], kind="stable")], reference)


def _sweep(front: Array, reference: Array) -> tuple[Array, Array]:
    """Boxes in three dimensions: strips of the plane, closed where a point cuts them."""
    boxes: list[tuple[float, ...]] = []
    strips: list[_Strip] = [(-np.inf, reference[0], reference[1], -np.inf)]
    for px, py, pz in front.tolist():
        kept: list[_Strip] = []
        for low, high, top, start in strips:
            if high <= px or top <= py:
                _add(kept, (low, high, top, start))
                continue
            if pz > start:
                boxes.append((low, start, high, top, pz))
            if low < px:
                _add(kept, (low, px, top, pz))
            _add(kept, (max(low, px), high, py, pz))
        strips = kept
    boxes += [(low, start, high, top, reference[2]) for low, high, top, start in strips]
    found = np.array(boxes, dtype=float)
    corner = np.stack([found[:, 0], np.full(len(found), -np.inf), found[:, 1]], axis=1)
    return corner, found[:, 2:]


def _add(strips: list[_Strip], strip: _Strip) -> None:
    """Append a strip, joined with the one before it where they make one."""
    if strips and strips[-1][1] == strip[0] and strips[-1][2:] == strip[2:]:
        strip = (strips.pop()[0], *strip[1:])
    strips.append(strip)


def hypervolume(points: Array, reference: Array) -> float:
    """Volume that points dominate below a reference point.

    Args:
        points: Shape (n, m), m from 1 to 3.
        reference: Shape (m,).

    Returns:
        In the product of the coordinates' units; 0.0 where no point lies below the reference.

    Source: Zitzler & Thiele 1998, "Multiobjective Optimization Using Evolutionary Algorithms".
    """
    inside = points[(points < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    ideal = inside.min(axis=0)
    low, high = free_boxes(inside, reference)
    free = np.maximum(high - np.maximum(low, ideal), 0.0).prod(axis=1).sum()
    return float((reference - ideal).prod() - free)


def spread(points: Array, n: int) -> Sequence[int]:
    """Positions of at most n points along a front, its ends among them; shape (k, m)."""
    order = np.lexsort(points.T[::-1])
    if len(order) <= n:
        return [int(i) for i in order]
    return [int(order[round(k)]) for k in np.linspace(0, len(order) - 1, n)]
