"""The trials that an analysis of one metric stands on, and why others are left out.

Depends on: numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.encoding import encode_all
from stillhouse_optimizer.errors import OptimizerError
from stillhouse_optimizer.feasibility import is_feasible
from stillhouse_optimizer.space import Rows, Space
from stillhouse_optimizer.spec import Observation, Problem

Array = NDArray[np.float64]

_WHY = {"failed": "failed before it was measured", "unsupported": "the device cannot run it"}


@dataclass(frozen=True)
class LeftOut:
    """Trials without a say, and why.

    Attributes:
        why: A plain half sentence.
        indices: Their places in the history, ascending.
    """

    why: str
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Basis:
    """What one metric's analysis sees.

    Attributes:
        rows: Configs (n, d), NaN where inactive.
        y: The raw metric (n,), finite.
        is_feasible: Which of them meet every limit by their measured values; (n,).
        indices: Their places in the history, ascending.
        left_out: All others, by reason.
    """

    rows: Rows
    y: Array
    is_feasible: NDArray[np.bool_]
    indices: tuple[int, ...]
    left_out: tuple[LeftOut, ...]


def basis_of(problem: Problem, space: Space, history: Sequence[Observation], metric: str) -> Basis:
    """Choose the trials with a finite value of a metric whose configs are of this space."""
    left_out: dict[str, list[int]] = {}
    told: list[int] = []
    for i, observation in enumerate(history):
        value = (observation.metrics or {}).get(metric)
        if observation.status != "complete":
            left_out.setdefault(_WHY[observation.status], []).append(i)
        elif value is None:
            left_out.setdefault(f"{metric} was not measured", []).append(i)
        elif not math.isfinite(value):
            left_out.setdefault(f"{metric} is not a finite number", []).append(i)
        else:
            told.append(i)
    rows, fits = encode_all(space, [history[i].config for i in told])
    used: list[int] = []
    for k, i in enumerate(told):
        if not fits[k]:
            try:
                rows[k] = space.encode(history[i].config)
            except OptimizerError:
                left_out.setdefault("its config is none of the search space", []).append(i)
                continue
            fits[k] = True
        used.append(i)
    measured = [history[i].metrics or {} for i in used]
    return Basis(
        rows=rows[fits],
        y=np.array([float(values[metric]) for values in measured], dtype=float),
        is_feasible=np.array(
            [is_feasible(values, problem.constraints)[0] for values in measured], dtype=bool
        ),
        indices=tuple(used),
        left_out=tuple(LeftOut(why, tuple(at)) for why, at in left_out.items()),
    )


def spans(numbers: Sequence[int]) -> list[list[int]]:
    """Ascending whole numbers as ``[first, last]`` of each unbroken stretch."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found
