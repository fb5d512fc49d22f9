"""Functional ANOVA of trees, exactly: variance shares of parameters and pairs, marginal curves.

Depends on: numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.grove import Boxes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Decomposition:
    """One tree's variance, split up.

    Attributes:
        total: Variance of the prediction over the whole space.
        mains: Variance of each parameter's marginal; shape (d,).
        pairs: Variance that belongs to two parameters together and neither alone; symmetric
            (d, d) with zeros on the diagonal.
        edges: For each parameter where its marginal changes, 0 and 1 included.
        marginals: For each parameter the marginal between consecutive edges.
    """

    total: float
    mains: Array
    pairs: Array
    edges: tuple[Array, ...]
    marginals: tuple[Array, ...]


def decompose(boxes: Boxes, with_pairs: bool = True) -> Decomposition:
    """Split the variance of one tree.

    With B the matrix that says which leaf covers which interval of which parameter, divided by the
    leaf's side, and c the leaf's value times its share of the space, the marginals of all
    parameters are B'c and those of all pairs are the blocks of B' diag(c) B.

    Args:
        boxes: Its leaves.
        with_pairs: Whether pairs are wanted; else they are zeros.

    Source: Hutter, Hoos & Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter
    Importance", algorithm 2; matrix form our own.
    """
    d = boxes.low.shape[1]
    sides = boxes.high - boxes.low
    share = sides.prod(axis=1)
    weight = boxes.value * share
    mean = float(weight.sum())
    total = max(float((boxes.value**2 * share).sum()) - mean**2, 0.0)

    edges = tuple(np.unique(np.concatenate([[0.0, 1.0], boxes.low[:, j]])) for j in range(d))
    cover = np.concatenate(
        [
            (
                (edges[j][:-1] >= boxes.low[:, j : j + 1])
                & (edges[j][1:] <= boxes.high[:, j : j + 1])
            )
            / sides[:, j : j + 1]
            for j in range(d)
        ],
        axis=1,
    )
    width = np.concatenate([np.diff(edge) for edge in edges])
    starts = np.cumsum([0, *(len(edge) - 1 for edge in edges[:-1])])
    # Around the mean, so that squares do not lose digits.
    marginal = cover.T @ weight - mean
    mains = np.add.reduceat(marginal**2 * width, starts)
    mains[mains < 1e-12 * total] = 0.0  # round-off of parameters without a split
    marginals = tuple(np.split(marginal + mean, starts[1:]))
    if not with_pairs:
        return Decomposition(total, mains, np.zeros((d, d)), edges, marginals)
    joint = cover.T @ (weight[:, None] * cover) - mean - marginal[:, None] - marginal[None, :]
    joint *= joint
    joint *= width[:, None]
    joint *= width[None, :]
    pairs = np.add.reduceat(np.add.reduceat(joint, starts, axis=0), starts, axis=1)
    np.fill_diagonal(pairs, 0.0)
    return Decomposition(total, mains, pairs, edges, marginals)


def closed_variances(boxes: Boxes, groups: Sequence[Sequence[int]]) -> Array:
    """Variance that each group of parameters explains: alone and with one another, exactly.

    Two leaves agree along a group by how much of their sides they share; summed over all pairs of
    leaves that is the variance of the group's joint marginal.

    Args:
        boxes: One tree's leaves.
        groups: Columns of each group.

    Returns:
        Shape (n_groups,).
    """
    sides = boxes.high - boxes.low
    share = sides.prod(axis=1)
    weight = (boxes.value - boxes.value @ share) * share
    is_split = np.asarray((sides < 1.0).any(axis=0))
    agreement: dict[int, Array] = {}
    found = np.zeros(len(groups))
    for k, group in enumerate(groups):
        joint: Array | None = None
        for j in group:
            if not is_split[j]:
                continue
            if j not in agreement:
                agreement[j] = _agreement(boxes.low[:, j], boxes.high[:, j])
            joint = agreement[j] if joint is None else joint * agreement[j]
        found[k] = 0.0 if joint is None else max(float(weight @ joint @ weight), 0.0)
    return found


def _agreement(low: Array, high: Array) -> Array:
    overlap = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    side = high - low
    return np.asarray(np.maximum(overlap, 0.0) / (side[:, None] * side))


def evaluate(decomposition: Decomposition, j: int, at: Array) -> Array:
    """The marginal of parameter ``j`` at measure coordinates; shape of ``at``."""
    edges = decomposition.edges[j]
    interval = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2)
    return np.asarray(decomposition.marginals[j][interval])
