"""Functional ANOVA of trees, exactly: variance shares of parameters and pairs, marginal curves.

Depends on: numpy.
"""

from __future__ import annotations

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


def decompose(boxes: Boxes) -> Decomposition:
    """Split the variance of one tree.

    With B the matrix that says which leaf covers which interval of which parameter, divided by the
    leaf's side, and c the leaf's value times its share of the space, the marginals of all
    parameters are B'c and those of all pairs are the blocks of B' diag(c) B.

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
    joint = cover.T @ (weight[:, None] * cover) - mean - marginal[:, None] - marginal[None, :]
    joint *= joint
    joint *= width[:, None]
    joint *= width[None, :]
    pairs = np.add.reduceat(np.add.reduceat(joint, starts, axis=0), starts, axis=1)
    np.fill_diagonal(pairs, 0.0)
    return Decomposition(total, mains, pairs, edges, tuple(np.split(marginal + mean, starts[1:])))


def evaluate(decomposition: Decomposition, j: int, at: Array) -> Array:
    """The marginal of parameter ``j`` at measure coordinates; shape of ``at``."""
    edges = decomposition.edges[j]
    interval = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2)
    return np.asarray(decomposition.marginals[j][interval])
