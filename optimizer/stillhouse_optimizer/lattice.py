"""Where steps of the built network lie: found by asking ``cheap_features``, not by being told.

Depends on: numpy.

Rounding to a device's channel granularity makes plateaus: many values of a sparsity build the same
network. Coupled layers build the smallest share asked for in their group. Both show in
``cheap_features``: sweep one parameter with all others wide open and see what changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.inputs import Inputs
from stillhouse_optimizer.space import Rows, Space

_POINTS = 129
_SAME = 1e-9


@dataclass(frozen=True)
class Lattice:
    """Plateaus and couplings.

    Attributes:
        middles: Column -> the middle code of each of its plateaus, ascending; only columns with
            at least two plateaus and fewer plateaus than points of the sweep.
        edges: Column -> the codes between plateaus, one fewer than middles.
        groups: Columns that build one shared value, two or more each.
    """

    middles: dict[int, NDArray[np.float64]]
    edges: dict[int, NDArray[np.float64]]
    groups: tuple[NDArray[np.intp], ...]


NO_LATTICE = Lattice({}, {}, ())


def find_lattice(space: Space, inputs: Inputs) -> Lattice:
    """Sweep every replaced parameter; costs ``len(replaced) * 129`` rows of ``cheap_features``."""
    swept = [j for j in inputs.replaced if not space.is_listed[j]]
    if not swept:
        return NO_LATTICE
    built_column = {j: k for k, j in enumerate(inputs.replaced)}
    grid = np.linspace(0.0, 1.0, _POINTS)
    blocks = []
    for j in swept:
        block = np.repeat(_wide_open(space, swept, j), _POINTS, axis=0)
        block[:, j] = grid
        blocks.append(space.activate(space.snap(block)))
    built = inputs.built(np.concatenate(blocks)).reshape(len(swept), _POINTS, -1)

    middles: dict[int, NDArray[np.float64]] = {}
    edges: dict[int, NDArray[np.float64]] = {}
    moved_with: dict[int, set[int]] = {}
    for i, j in enumerate(swept):
        own = built[i, :, built_column[j]]
        breaks = np.flatnonzero(np.abs(np.diff(own)) > _SAME)
        if 1 <= len(breaks) < (_POINTS - 1) // 2:
            edge = (grid[breaks] + grid[breaks + 1]) / 2
            ends = np.concatenate([[0.0], edge, [1.0]])
            middles[j], edges[j] = (ends[1:] + ends[:-1]) / 2, edge
        spread = np.ptp(np.nan_to_num(built[i], nan=-1.0), axis=0)
        moved_with[j] = {k for k in swept if spread[built_column[k]] > _SAME}
    return Lattice(middles, edges, _groups(swept, moved_with))


def _wide_open(space: Space, swept: list[int], j: int) -> Rows:
    """All swept parameters at their upper end, where they bind no other, and ``j`` active."""
    row = space.default_codes[None, :].copy()
    row[0, swept] = 1.0
    space.open(row[0], j)
    return row


def _groups(swept: list[int], moved_with: dict[int, set[int]]) -> tuple[NDArray[np.intp], ...]:
    groups: list[NDArray[np.intp]] = []
    grouped: set[int] = set()
    for j in swept:
        # Mutual only: a one-sided effect is no shared value.
        members = {k for k in moved_with[j] if j in moved_with[k]} | {j}
        members -= grouped
        if len(members) > 1:
            groups.append(np.array(sorted(members)))
            grouped |= members
    return tuple(groups)
