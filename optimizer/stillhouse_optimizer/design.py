"""The first trials: the default, then configs that fill the space.

Depends on: numpy, scipy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc  # type: ignore[import-untyped]  # scipy has no types

from stillhouse_optimizer.prior import Prior
from stillhouse_optimizer.space import Rows, Space

# How far from the default the ladder's rungs stand on the way to a random config.
_RUNGS = (0.15, 0.3, 0.45, 0.6, 0.75)


def initial_design(space: Space, n: int, seed: int, has_ladder: bool) -> Rows:
    """Configs for the first trials, the default first.

    The default is the config that is known to be harmless. Where nearly no random config meets the
    limits, a forest learns nothing from space-filling trials alone: the ladder gives it
    trials near the default too. Models with an additive mean do better without (docs/optimiser.md).

    Args:
        space: Where configs lie.
        n: How many, at least 1. Fewer come back when the space holds fewer.
        seed: Of the Latin hypercube; every call with the same arguments gives the same rows.
        has_ladder: Whether up to five of them step from the default into the space.

    Returns:
        Distinct legal rows (at most n, n_parameters).
    """
    rng = np.random.default_rng([seed, 0x1A7])
    default = space.anchor()
    n_rungs = min(len(_RUNGS), max(n - 1, 0)) if has_ladder else 0
    rows = [default]
    if n_rungs:
        far = _hypercube(space, n_rungs, rng)
        rows.append(_between(space, default, far, np.array(_RUNGS[: len(far)])))
    rows.append(_hypercube(space, max(n - 1 - n_rungs, 1), rng))
    # Repeats (small spaces) and illegal mixtures are made up for by random configs.
    rows.append(space.sample(4 * n, rng))
    every = np.concatenate(rows)
    every = every[space.is_legal(every)]
    _, first = np.unique(np.nan_to_num(every, nan=-1.0), axis=0, return_index=True)
    return every[np.sort(first)][:n]


def interleaved(design: Rows, known: Rows) -> Rows:
    """A design with configs that did well elsewhere: the default, then one of each in turn.

    As many rows as ``design`` has; its last ones give way.

    Args:
        design: From ``initial_design``.
        known: Legal rows, the best first; those that stand in the design already count once.
    """
    rows = [design[0]]
    for k in range(max(len(design) - 1, len(known))):
        rows += [part[at] for part, at in ((known, k), (design, k + 1)) if at < len(part)]
    every = np.array(rows)
    _, first = np.unique(np.nan_to_num(every, nan=-1.0), axis=0, return_index=True)
    return every[np.sort(first)][: len(design)]


def _hypercube(space: Space, n: int, rng: np.random.Generator) -> Rows:
    prior = Prior(space)

    def draw(m: int) -> NDArray[np.float64]:
        cube = qmc.LatinHypercube(d=len(space.parameters), rng=rng)
        points = np.asarray(cube.random(m))
        return prior.drawn(points) if prior.is_given else points

    return space.from_unit(draw, n)


def _between(space: Space, default: Rows, far: Rows, share: NDArray[np.float64]) -> Rows:
    """Ranges a share of the way from the default; everything else as in the default."""
    start = np.where(np.isnan(default[0]), space.default_codes, default[0])
    rows = np.repeat(start[None, :], len(far), axis=0)
    ranges = ~space.is_listed
    away = np.where(np.isnan(far), rows, far)
    rows[:, ranges] += (share[:, None] * (away - rows))[:, ranges]
    return space.activate(space.snap(rows))
