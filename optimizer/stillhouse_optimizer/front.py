"""The front of several objectives: which trials no other beats in all of them, and its volume.

Depends on: numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse_optimizer.feasibility import is_certain, is_feasible
from stillhouse_optimizer.pareto import hypervolume, is_dominated
from stillhouse_optimizer.spec import Observation, Problem, is_maximised, reference_point


@dataclass(frozen=True)
class Standing:
    """A measured trial as the front sees it.

    Attributes:
        index: Its place in the history.
        values: Each objective's raw measured value, in the problem's order.
        is_feasible: Whether its measured values meet the limits.
        is_certain: Whether they meet them at the unfavourable ends of their intervals too.
        is_dominated: Whether a feasible trial is no worse in any objective and better in one; of
            a trial that is not feasible always true.
    """

    index: int
    values: tuple[float, ...]
    is_feasible: bool
    is_certain: bool
    is_dominated: bool


@dataclass(frozen=True)
class Front:
    """What several objectives have come to.

    Attributes:
        objectives: Their metrics.
        reference: The raw values that the hypervolume is measured from.
        trials: Every trial with a usable value of each objective, in the order of the history.
        hypervolume: After each trial of the history (also those without values) what feasible
            trials dominate below the reference, in the product of the objectives' units.
        constant: Objectives that are the same in all feasible trials, where there are two or more.
    """

    objectives: tuple[str, ...]
    reference: tuple[float, ...]
    trials: tuple[Standing, ...]
    hypervolume: tuple[float, ...]
    constant: tuple[str, ...]

    @property
    def points(self) -> tuple[Standing, ...]:
        """The trials on the front, the best of the first objective first."""
        sign = -1.0 if is_maximised(self.objectives[0]) else 1.0
        on = [trial for trial in self.trials if not trial.is_dominated]
        return tuple(sorted(on, key=lambda trial: (sign * trial.values[0], trial.index)))


def front(problem: Problem, history: Sequence[Observation]) -> Front:
    """Choose the front by measured values, among trials whose measured values meet the limits.

    As many noisy measurements compete, points of the front are lucky more often than not, and a
    point near a limit may break it: ``is_certain`` says which ones keep the limits with their whole
    intervals.

    Args:
        problem: Its objectives (two or three), limits and reference.
        history: Finished trials.

    Raises:
        ProblemError: nothing says where the hypervolume is measured from (``reference_point``).
    """
    reference = reference_point(problem)
    sign = np.array([-1.0 if is_maximised(metric) else 1.0 for metric in problem.objectives])
    corner = sign * reference
    found: list[tuple[int, tuple[float, ...], bool, bool]] = []
    volumes: list[float] = []
    inside = np.empty((0, len(sign)))  # the front so far, below the reference
    for index, trial in enumerate(history):
        volume = volumes[-1] if volumes else 0.0
        values = _values(problem, trial)
        if values is not None:
            metrics: Mapping[str, float] = trial.metrics or {}
            feasible = is_feasible(metrics, problem.constraints)[0]
            certain = feasible and is_certain(metrics, problem.constraints)
            found.append((index, values, feasible, certain))
            point = sign * values
            if feasible and not (inside <= point).all(axis=1).any() and (point < corner).all():
                inside = np.concatenate([inside, point[None, :]])
                inside = inside[~is_dominated(inside)]
                volume = hypervolume(inside, corner)
        volumes.append(volume)
    feasible_points = np.array([sign * v for _, v, ok, _ in found if ok]).reshape(-1, len(sign))
    beaten = iter(is_dominated(feasible_points).tolist())
    n_feasible = len(feasible_points)
    return Front(
        problem.objectives,
        reference,
        tuple(
            Standing(index, values, ok, certain, next(beaten) if ok else True)
            for index, values, ok, certain in found
        ),
        tuple(volumes),
        tuple(
            metric
            for k, metric in enumerate(problem.objectives)
            if n_feasible > 1 and np.ptp(feasible_points[:, k]) == 0
        ),
    )


def _values(problem: Problem, trial: Observation) -> tuple[float, ...] | None:
    if trial.status != "complete":
        return None
    metrics = trial.metrics or {}
    values = tuple(metrics.get(metric, math.nan) for metric in problem.objectives)
    return values if all(math.isfinite(value) for value in values) else None
