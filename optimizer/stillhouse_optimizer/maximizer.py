"""Where the acquisition is highest: random points, then local search on arrays.

Depends on: numpy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.lattice import NO_LATTICE, Lattice
from stillhouse_optimizer.space import Mask, Rows, Space, nearest

Scores = NDArray[np.float64]

_N_RANDOM = 2000
_N_PERTURBED = 600
_N_LINEAGES = 12
_N_ROUNDS = 8
_N_MUTATIONS = 40
_FIRST_STEP = 0.2
_SHRINK = 0.72
_LAST_STEP = 0.02
_SHARE_SHIFTED = 0.08
_MUTATED = np.array([1, 2, 3, 6])
_JUMPS = np.array([-4, -2, -1, 1, 2, 4])


def search(
    space: Space,
    score: Callable[[Rows], Scores],
    starts: Rows,
    rng: np.random.Generator,
    lattice: Lattice = NO_LATTICE,
    layers: tuple[int, ...] = (),
) -> tuple[Rows, Scores]:
    """Look for rows of high score.

    Args:
        space: Where rows are legal.
        score: Rows (n, n_parameters) -> values (n,), higher is better.
        starts: Good rows known so far (k, n_parameters); may be empty.
        rng: Source of every random draw.
        lattice: Steps and couplings of the built network.
        layers: Columns that are shifted together now and then; every range without.

    Returns:
        Every legal row that was scored, best first, and its score; a row may stand twice.
    """
    if space.listed is not None:
        return _ranked(space.listed, score(space.listed))
    mutate = _Mutation(space, lattice, layers)
    starts = starts[space.is_legal(starts)]  # a trial may be older than a clause
    pool = [space.sample(_N_RANDOM, rng)]
    if len(starts):
        parents = starts[rng.integers(len(starts), size=_N_PERTURBED)]
        pool += [starts, mutate(parents, _FIRST_STEP, rng)]
    rows = np.concatenate(pool)
    scores = score(rows)
    seen, seen_scores = [rows], [scores]

    lineage, lineage_scores = _leaders(rows, scores)
    for round_ in range(_N_ROUNDS):
        step = max(_FIRST_STEP * _SHRINK**round_, _LAST_STEP)
        children = mutate(np.repeat(lineage, _N_MUTATIONS, axis=0), step, rng)
        child_scores = score(children)
        seen.append(children)
        seen_scores.append(child_scores)
        by_lineage = child_scores.reshape(len(lineage), _N_MUTATIONS)
        winner = by_lineage.argmax(axis=1)
        won = by_lineage.max(axis=1) > lineage_scores
        picked = children[np.arange(len(lineage)) * _N_MUTATIONS + winner]
        lineage = np.where(won[:, None], picked, lineage)
        lineage_scores = np.where(won, by_lineage.max(axis=1), lineage_scores)
    return _ranked(np.concatenate(seen), np.concatenate(seen_scores))


class _Mutation:
    """Small random changes that keep rows legal."""

    def __init__(self, space: Space, lattice: Lattice, layers: tuple[int, ...]) -> None:
        self._space = space
        self._lattice = lattice
        self._is_range = ~space.is_listed & (space.n_levels != 1)
        columns = np.arange(len(space.names))
        self._is_shifted = np.isin(columns, layers) if layers else self._is_range

    def __call__(self, parents: Rows, step: float, rng: np.random.Generator) -> Rows:
        """One child for each parent; the parent itself where the child would be illegal."""
        space, n = self._space, len(parents)
        rows = parents.copy()
        mutated = self._choose(parents, rng)
        shifted = rng.random(n) < _SHARE_SHIFTED
        noise = rng.normal(scale=step, size=parents.shape)
        shift = rng.normal(scale=step, size=n)

        moved = mutated & ~shifted[:, None]
        rows += np.where(moved & self._is_range, noise, 0.0)
        rows += np.where(shifted[:, None] & self._is_shifted, shift[:, None], 0.0)
        for j, middles in self._lattice.middles.items():
            self._jump(rows, parents, j, middles, moved[:, j], rng)
        for group in self._lattice.groups:
            self._share(rows, group, moved, rng)
        self._move_countable(rows, parents, moved, noise, rng)
        space.snap(rows)
        space.activate(rows, fill=space.spread(rng.random(rows.shape)))
        legal = space.is_legal(rows)
        rows[~legal] = parents[~legal]
        return rows

    def _choose(self, parents: Rows, rng: np.random.Generator) -> Mask:
        """Which active columns change in each row."""
        order = rng.random(parents.shape)
        order[np.isnan(parents)] = 2.0
        order[:, self._space.n_levels == 1] = 2.0
        wanted = rng.choice(_MUTATED, size=len(parents))
        last = np.minimum(wanted, order.shape[1]) - 1
        drawn = np.sort(order, axis=1)[np.arange(len(parents)), last]
        return np.asarray((order <= drawn[:, None]) & (order < 2.0))

    def _jump(
        self,
        rows: Rows,
        parents: Rows,
        j: int,
        middles: NDArray[np.float64],
        moved: Mask,
        rng: np.random.Generator,
    ) -> None:
        """Half of the moved values go some plateaus up or down instead."""
        draws = rng.random(len(rows)), rng.choice(_JUMPS, size=len(rows))
        jumping = np.flatnonzero(moved & (draws[0] < 0.5))
        at = np.searchsorted(self._lattice.edges[j], parents[jumping, j])
        rows[jumping, j] = middles[np.clip(at + draws[1][jumping], 0, len(middles) - 1)]

    def _share(
        self, rows: Rows, group: NDArray[np.intp], moved: Mask, rng: np.random.Generator
    ) -> None:
        """A coupled group whose member moved takes that member's value."""
        draws = rng.random((len(rows), len(group)))
        draws[~moved[:, group] | np.isnan(rows[:, group])] = -1.0
        leader = draws.argmax(axis=1)
        led = np.flatnonzero(draws.max(axis=1) >= 0.0)
        value = rows[led, group[leader[led]]]
        active = ~np.isnan(rows[np.ix_(led, group)])
        rows[np.ix_(led, group)] = np.where(active, value[:, None], np.nan)

    def _move_countable(
        self,
        rows: Rows,
        parents: Rows,
        moved: Mask,
        noise: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> None:
        """Countable values move by at least one level; a choice becomes any other."""
        space = self._space
        for j, codes in enumerate(space.codes):
            if codes is None or len(codes) == 1:
                continue
            at = np.flatnonzero(moved[:, j])
            other = rng.integers(1, len(codes), size=len(rows))[at]
            level = np.searchsorted(codes, parents[at, j] - 1e-9)
            if space.parameters[j].kind == "choice":
                rows[at, j] = codes[(level + other) % len(codes)]
                continue
            if space.is_listed[j]:
                target = level + np.rint(noise[at, j] * (len(codes) - 1)).astype(int)
            else:
                target = nearest(codes, rows[at, j])
            target = np.minimum(np.maximum(target, 0), len(codes) - 1)
            up = level + np.where(noise[at, j] < 0, -1, 1)
            back = 2 * level - up  # a step off the end goes the other way
            beside = np.where((up < 0) | (up >= len(codes)), back, up)
            rows[at, j] = codes[np.where(target == level, beside, target)]


def _ranked(rows: Rows, scores: Scores) -> tuple[Rows, Scores]:
    """Best first; equal scores in the order they came."""
    order = np.argsort(-scores, kind="stable")
    return rows[order], scores[order]


def _leaders(rows: Rows, scores: Scores) -> tuple[Rows, Scores]:
    """The best rows, none twice."""
    best = np.argsort(-scores, kind="stable")[: 5 * _N_LINEAGES]
    few, few_scores = rows[best], scores[best]
    _, first = np.unique(np.nan_to_num(few, nan=-1.0), axis=0, return_index=True)
    first = np.sort(first)[:_N_LINEAGES]
    return few[first], few_scores[first]
