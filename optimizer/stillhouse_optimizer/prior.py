"""What the user believes of good values, and how long it counts.

Depends on: numpy, scipy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri  # type: ignore[import-untyped]  # scipy has no types

from stillhouse_optimizer.space import Rows, Space, to_unit

Array = NDArray[np.float64]

# A prior counts this much for the model's first proposal, a tenth of it for the tenth.
_BETA = 10.0
# However narrow a prior, no value is ruled out: at most this much is lost a parameter.
_LEAST = 1e-6


class Prior:
    """Normal priors of ranges, on each one's own (possibly logarithmic) scale; weights of choices.

    Source: Hvarfner et al. 2022, "piBO: Augmenting Acquisition Functions with User Beliefs for
    Bayesian Optimization", section 3.2: the acquisition times the prior to the power of beta / n.
    Densities and weights count as shares of the largest. Inactive parameters have none.
    """

    def __init__(self, space: Space) -> None:
        """Read the space's priors."""
        has = [(j, p, p.prior) for j, p in enumerate(space.parameters) if p.prior is not None]
        self._columns = np.array([j for j, _, _ in has], dtype=np.intp)
        self._center = np.array([to_unit(p, prior.center) for _, p, prior in has])
        self._width = np.array(
            [
                math.log(prior.width) / math.log(p.high / p.low)
                if p.log
                else prior.width / (p.high - p.low)
                for _, p, prior in has
            ]
        )
        self._weights = [
            (j, np.array(p.weights)) for j, p in enumerate(space.parameters) if p.weights
        ]

    @property
    def is_given(self) -> bool:
        """Whether any parameter has one."""
        return bool(len(self._columns) or self._weights)

    def log_weight(self, rows: Rows, n: int) -> Array:
        """What the priors add to the logarithm of an acquisition; shape (len(rows),), at most 0.

        Args:
            rows: Configs.
            n: Number of the model's proposal, from 1: priors fade as trials come.
        """
        z = (rows[:, self._columns] - self._center) / self._width
        told = np.log(np.maximum(np.exp(-0.5 * z**2), _LEAST))
        total = np.where(np.isnan(z), 0.0, told).sum(axis=1)
        for j, weights in self._weights:
            # What is inactive finds the 0 at the end.
            of_level = np.append(np.log(np.maximum(weights / weights.max(), _LEAST)), 0.0)
            level = np.where(np.isnan(rows[:, j]), len(weights), rows[:, j])
            total += of_level[level.astype(np.intp)]
        return np.asarray(_BETA / n * total)

    def drawn(self, unit: Array) -> Array:
        """Every other point of the unit cube (n, n_parameters) moved to where the priors expect it.

        The others stay: a prior may be wrong.
        """
        moved = unit.copy()
        low, high = ndtr(-self._center / self._width), ndtr((1 - self._center) / self._width)
        share = low + unit[::2][:, self._columns] * (high - low)
        there = np.clip(self._center + self._width * ndtri(share), 0.0, np.nextafter(1.0, 0.0))
        moved[::2][:, self._columns] = there
        for j, weights in self._weights:
            ends = np.cumsum(weights) / weights.sum()
            level = np.searchsorted(ends[:-1], unit[::2][:, j], side="right")
            moved[::2][:, j] = (level + 0.5) / len(weights)  # the middle of what stands for it
        return moved
