"""Which configs were tried, and finding one that was not.

Depends on: numpy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.errors import OptimizerError, SpaceExhausted
from stillhouse_optimizer.inputs import Inputs
from stillhouse_optimizer.space import Rows, Space

_CHUNK = 256
_VISITS = 10_000_000


class Tried:
    """Configs that must not be proposed again.

    Two configs that build the same network and train it in the same way count as one as long as
    there is another to propose.
    """

    def __init__(self, space: Space, inputs: Inputs, rows: Rows) -> None:
        self._space = space
        self._inputs = inputs
        self._configs = set(keys(rows))
        self._built = set(keys(inputs.of(rows)))

    def first_new(self, rows: Rows) -> NDArray[np.float64] | None:
        """The first row that builds something new, else the first new config, else None."""
        only_config: NDArray[np.float64] | None = None
        for at in range(0, len(rows), _CHUNK):
            chunk = rows[at : at + _CHUNK]
            built_keys = keys(self._inputs.of(chunk))
            for row, config, built in zip(chunk, keys(chunk), built_keys, strict=True):
                if config in self._configs:
                    continue
                if built not in self._built:
                    return np.asarray(row)
                if only_config is None:
                    only_config = row
        return only_config

    def any_new(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Some new row.

        Raises:
            SpaceExhausted: there is none.
        """
        if self._space.listed is not None:
            row = self.first_new(self._space.listed[rng.permutation(len(self._space.listed))])
            if row is None:
                raise SpaceExhausted(len(self._space.listed))
            return row
        for _ in range(5):
            row = self.first_new(self._space.sample(2000, rng))
            if row is not None:
                return row
        n_seen = 0
        for candidate in self._space.enumerate_legal(_VISITS):
            if candidate is None:
                raise OptimizerError(f"found no new config among {_VISITS} partial ones")
            free = np.isinf(candidate)
            candidate[free] = rng.random(int(free.sum()))
            row = self.first_new(candidate[None, :])
            if row is not None:
                return row
            n_seen += 1
        raise SpaceExhausted(n_seen)


def keys(rows: NDArray[np.float64]) -> list[bytes]:
    """Names of rows: equal where the rows are, inactive values included."""
    # -1 stands for inactive; rounding makes up for the way to decimals and back.
    rounded = np.round(np.nan_to_num(rows, nan=-1.0), 9) + 0.0
    return [row.tobytes() for row in rounded]
