"""Many configs as rows at once: a history of thousands is read anew at every proposal.

Depends on: numpy.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.parameter import Config, Value
from stillhouse_optimizer.space import Mask, Rows, Space

_ABSENT = object()


def encode_all(space: Space, configs: Sequence[Config]) -> tuple[Rows, Mask]:
    """Rows of configs, and which of the configs fit the space; the others' rows mean nothing.

    Agrees with ``Space.encode``, which says what is wrong with a config that does not fit.
    """
    n = len(configs)
    rows = np.full((n, len(space.names)), np.nan)
    if not n:
        return rows, np.ones(0, dtype=bool)
    n_known = np.zeros(n, dtype=int)
    fits = np.ones(n, dtype=bool)
    # Config by config, as memory holds them; into one list, as thousands of small ones wake the
    # garbage collector.
    every: list[object] = []
    for config in configs:
        every.extend(map(config.get, space.names, repeat(_ABSENT)))
    for j in range(len(space.names)):
        values = every[j :: len(space.names)]
        kinds = set(map(type, values))
        if type(_ABSENT) in kinds:
            given = np.array([value is not _ABSENT for value in values], dtype=bool)
        else:
            given = np.ones(n, dtype=bool)
        n_known += given
        if space.is_continuous[j] and kinds <= {float, type(_ABSENT)}:
            present = values if given.all() else [np.nan if v is _ABSENT else v for v in values]
            numbers = np.array(present, dtype=float)
            parameter = space.parameters[j]
            with np.errstate(invalid="ignore"):
                allowed = (numbers >= parameter.low) & (numbers <= parameter.high)
            rows[allowed, j] = _to_unit(
                parameter.low, parameter.high, parameter.log, numbers[allowed]
            )
        else:
            rows[:, j] = _by_value(space, j, values, kinds)
        fits &= ~(given & np.isnan(rows[:, j]))
    fits &= n_known == [len(config) for config in configs]
    full = space.activate(rows.copy())
    return rows, fits & (np.isnan(rows) == np.isnan(full)).all(axis=1) & space.is_complete(rows)


def _to_unit(
    low: float, high: float, log: bool, numbers: NDArray[np.float64]
) -> NDArray[np.float64]:
    unit = np.log(numbers / low) / np.log(high / low) if log else (numbers - low) / (high - low)
    return np.clip(unit, 0.0, 1.0)


def _by_value(
    space: Space, j: int, values: Sequence[object], kinds: Set[type]
) -> NDArray[np.float64]:
    """Codes of values, each distinct one looked up once; NaN where absent or not allowed."""
    is_mixed = len(kinds - {type(_ABSENT)}) > 1
    keys = list(zip(map(type, values), values, strict=True)) if is_mixed else values  # True is no 1
    try:
        code_of = {
            key: _code(space, j, value)
            for key, value in dict(zip(keys, values, strict=True)).items()
        }
    except TypeError:  # a list or a mapping is no value of any parameter
        return np.array([_code(space, j, value) for value in values], dtype=float)
    return np.array([code_of[key] for key in keys], dtype=float)


def _code(space: Space, j: int, value: object) -> float:
    if value is _ABSENT or not isinstance(value, bool | int | float | str | None):
        return np.nan
    plain: Value = value
    return space.code_of(j, plain) if space.parameters[j].allows(plain) else np.nan
