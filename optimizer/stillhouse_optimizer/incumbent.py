"""The best trial so far, judged with the noise of its measurements in mind.

Depends on: feasibility.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stillhouse_optimizer.feasibility import is_certain, is_feasible
from stillhouse_optimizer.spec import Observation, Problem, is_maximised


@dataclass(frozen=True)
class Incumbent:
    """The best trial that meets the limits.

    Attributes:
        index: Its place in the history.
        is_certain: Whether the unfavourable ends of its metrics' intervals meet the limits too, so
            that it may be announced.
    """

    index: int
    is_certain: bool


def incumbent(problem: Problem, history: Sequence[Observation]) -> Incumbent | None:
    """Choose the incumbent.

    A trial that certainly meets the limits beats every trial whose measured values alone do: the
    best of many noisy measurements is lucky more often than good.

    Args:
        problem: Its objective and limits.
        history: Finished trials; ``<metric>_low`` and ``<metric>_high`` among their metrics are
            ends of that metric's interval.

    Returns:
        None when no trial meets the limits by its measured values. Ties go to the earlier trial.
    """
    best: tuple[bool, float] | None = None
    found: Incumbent | None = None
    for index, trial in enumerate(history):
        metrics = dict(trial.metrics or {})
        value = metrics.get(problem.objective, math.nan)
        if trial.status != "complete" or not math.isfinite(value):
            continue
        if not is_feasible(metrics, problem.constraints)[0]:
            continue
        certain = is_certain(metrics, problem.constraints)
        rank = (not certain, -value if is_maximised(problem.objective) else value)
        if best is None or rank < best:
            best, found = rank, Incumbent(index, certain)
    return found
