"""How far shares of variance depend on the trials at hand: the bootstrap.

Depends on: numpy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.fanova import Decomposition, closed_variances, decompose
from stillhouse_optimizer.grove import Boxes, grow
from stillhouse_optimizer.space import Rows, Space

Array = NDArray[np.float64]

# Reasons for these stand in docs/optimiser.md.
_N_RESAMPLES, _N_TREES = 20, 8
_QUANTILES = (0.05, 0.95)


def shares_of(
    parts: Sequence[Decomposition], boxes: Sequence[Boxes], groups: Sequence[Sequence[int]]
) -> Array:
    """Shares of variance of every parameter alone, then of every group together.

    Args:
        parts: The decomposition of every tree.
        boxes: Leaves of the trees, in the same order, or of the first of them, which then say
            alone what groups explain.
        groups: Columns of each group.

    Returns:
        Means over the trees that vary; shape (d + n_groups,), zeros where none does.
    """
    mains = [part.mains / part.total for part in parts if part.total > 0]
    together = [
        closed_variances(leaves, groups) / part.total
        for part, leaves in zip(parts, boxes, strict=False)
        if part.total > 0
    ]
    none = np.zeros(len(parts[0].mains)), np.zeros(len(groups))
    return np.concatenate(
        [
            np.mean(found, axis=0) if found else zeros
            for found, zeros in zip((mains, together), none, strict=True)
        ]
    )


def intervals(
    space: Space, rows: Rows, y: Array, groups: Sequence[Sequence[int]], shares: Array, seed: int
) -> Array:
    """90 % bootstrap intervals of shares: trials are drawn anew and the forest is grown again.

    A resample holds fewer different trials, which shifts its shares; so their spread around their
    own mean is laid around the shares of all trials.

    Args:
        space: Of the rows.
        rows: Configs (n, d).
        y: The metric (n,).
        groups: As for ``shares_of``.
        shares: What ``shares_of`` says of all trials; (k,).
        seed: Of the resamples.

    Returns:
        Lower and upper ends, shape (2, k), within 0..1 and around ``shares``.

    Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13; centred.
    """
    rng = np.random.default_rng([seed, 1])
    n = len(y)
    found = []
    for _ in range(_N_RESAMPLES):
        chosen = rng.integers(n, size=n)
        if np.ptp(y[chosen]) == 0:
            continue
        grove = grow(space, rows[chosen], y[chosen], _N_TREES, int(rng.integers(2**31 - 1)))
        parts = [decompose(boxes, with_pairs=False) for boxes in grove.boxes]
        found.append(shares_of(parts, grove.boxes, groups))
    if not found:
        return np.stack([shares, shares])
    drawn = np.array(found)
    low, high = np.quantile(drawn, _QUANTILES, axis=0) - drawn.mean(axis=0)
    return np.stack(
        [
            np.clip(shares + np.minimum(low, 0.0), 0.0, 1.0),
            np.clip(shares + np.maximum(high, 0.0), 0.0, 1.0),
        ]
    )
