"""What a config is expected to gain: below the best so far, or beyond the front so far.

Depends on: numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.acquisition import log_ehvi, log_ei
from stillhouse_optimizer.evidence import Target
from stillhouse_optimizer.forest import Model
from stillhouse_optimizer.pareto import free_boxes, hypervolume

Array = NDArray[np.float64]


class Gain(Protocol):
    """What further trials are expected to gain."""

    def of(self, x: Array) -> Array:
        """Logarithm of the expected gain at inputs (n, k); shape (n,)."""
        ...

    def told(self, x: Array) -> dict[str, float]:
        """What a proposal says of the gain at one row of inputs (1, k)."""
        ...


@dataclass(frozen=True)
class Improvement:
    """Of one objective: below the lowest posterior mean among trials that met the limits."""

    model: Model
    eta: float

    @classmethod
    def below_best(cls, model: Model, x: Array) -> Improvement:
        """Improve on the trials at inputs x (n, k), at least one."""
        return cls(model, float(model.predict(x)[0].min()))

    def of(self, x: Array) -> Array:
        """Log of the expected improvement."""
        mean, variance = self.model.predict(x)
        return log_ei(mean, np.sqrt(variance), self.eta)

    def told(self, x: Array) -> dict[str, float]:
        """``log_ei``."""
        return {"log_ei": float(self.of(x)[0])}


@dataclass(frozen=True)
class FrontGain:
    """Of several objectives: volume beyond the front of the posterior means.

    Volume counts raw values, also where a logarithm is modelled: it is what the front is judged by.
    """

    models: Sequence[Model]
    is_log: Sequence[bool]
    low: Array
    high: Array
    volume: float

    @classmethod
    def beyond(
        cls, models: Sequence[tuple[Target, Model]], x: Array, reference: Array
    ) -> FrontGain:
        """Improve on the trials at inputs x (n, k).

        Args:
            models: For each objective how it is modelled, and the model.
            x: Inputs of the trials that met the limits, and of running ones that are expected to.
            reference: The reference point as modelled, shape (n_objectives,).
        """
        means = np.stack([model.predict(x)[0] for _, model in models], axis=1)
        is_log = [target.is_log and target.sign > 0 for target, _ in models]
        low, high = free_boxes(means, reference)
        raw, corner = means.copy(), reference.copy()
        raw[:, is_log], corner[is_log] = np.exp(means[:, is_log]), np.exp(reference[is_log])
        return cls([model for _, model in models], is_log, low, high, hypervolume(raw, corner))

    def of(self, x: Array) -> Array:
        """Log of the expected hypervolume improvement."""
        told = [model.predict(x) for model in self.models]
        means, sds = [mean for mean, _ in told], [np.sqrt(variance) for _, variance in told]
        return log_ehvi(means, sds, self.is_log, self.low, self.high)

    def told(self, x: Array) -> dict[str, float]:
        """``log_ehvi``, and the ``hypervolume`` that it adds to."""
        return {"log_ehvi": float(self.of(x)[0]), "hypervolume": self.volume}
