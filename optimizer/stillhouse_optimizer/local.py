"""Around the best trial: what its parameters still do there, and which of them made it good.

Depends on: numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.grove import Grove, coordinates, expected
from stillhouse_optimizer.marginal import grid_of
from stillhouse_optimizer.parameter import Value
from stillhouse_optimizer.space import Space

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LocalImportance:
    """What one parameter does to a metric when it alone is turned, from the best trial on.

    Attributes:
        name: The parameter's.
        value: Its value in that trial.
        importance: Its share, 0..1, of the variance that all such turns make; they add to 1.
        low: Least expected metric on its range.
        high: Largest.
        at_low: The value where the least is expected.
        at_high: The value where the largest is.
    """

    name: str
    value: Value
    importance: float
    low: float
    high: float
    at_low: Value
    at_high: Value


def local_importance(space: Space, grove: Grove, row: Array) -> tuple[LocalImportance, ...]:
    """Turn each active parameter of a config alone; most important first.

    What depends on the parameter turned is averaged out.

    Args:
        space: Of the row.
        grove: Of one metric.
        row: The config, NaN where inactive; shape (d,).

    Source: Biedenkapp, Marben, Lindauer & Hutter 2018, "CAVE: Configuration Assessment,
    Visualization and Evaluation", section 3.2; on every tree's leaves instead of a prediction.
    """
    base = coordinates(space, row[None, :], grove.level_order)
    points: list[Array] = [base]
    turned: list[tuple[int, tuple[Value, ...], slice]] = []
    n_rows = 1
    for j in np.flatnonzero(~np.isnan(row)).tolist():
        values, at = grid_of(space, grove, j)
        if len(at) < 2:
            continue
        rows = np.repeat(base, len(at), axis=0)
        rows[:, j] = at
        rows[:, space.descendants(j)] = np.nan
        points.append(rows)
        turned.append((j, values, slice(n_rows, n_rows + len(at))))
        n_rows += len(at)
    metric = expected(grove.boxes, np.concatenate(points))
    variance = np.array([metric[at].var() for _, _, at in turned])
    share = variance / variance.sum() if variance.sum() > 0 else np.zeros(len(variance))
    found = []
    for k in np.argsort(-share, kind="stable"):
        j, values, at = turned[k]
        low, high = int(metric[at].argmin()), int(metric[at].argmax())
        found.append(
            LocalImportance(
                name=space.names[j],
                value=space.value_of(j, float(row[j])),
                importance=float(share[k]),
                low=float(metric[at][low]),
                high=float(metric[at][high]),
                at_low=values[low],
                at_high=values[high],
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class Step:
    """One step of an ablation.

    Attributes:
        changes: ``(parameter, from, to)``; more than one only where each alone is forbidden.
        metrics: What is expected after it, by metric.
    """

    changes: tuple[tuple[str, Value, Value], ...]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Ablation:
    """A way from the default to the best trial, the change that helps most first.

    Attributes:
        start: What is expected of the default, by metric.
        steps: In the order taken.
    """

    start: Mapping[str, float]
    steps: tuple[Step, ...]


def ablate(
    space: Space,
    groves: Mapping[str, Grove],
    objective: str,
    is_maximised: bool,
    row: Array,
) -> Ablation:
    """Walk from the default to a config, each time by the change that helps the objective most.

    A child that a change makes active begins at its default. Steps into a forbidden combination
    are put off; where none else is left the rest is changed at once.

    Args:
        space: Of the row.
        groves: One for each metric to tell, the objective's among them.
        objective: Which one decides the order.
        is_maximised: Whether more of it is better.
        row: Where to go; NaN where inactive, shape (d,).

    Source: Fawcett & Hoos 2016, "Analysing differences between algorithm configurations through
    ablation"; on the forest's predictions instead of runs (Biedenkapp et al. 2017, "Efficient
    Parameter Importance Analysis via Ablation with Surrogates").
    """

    def told(rows: Array, metric: str) -> Array:
        grove = groves[metric]
        return expected(grove.boxes, coordinates(space, rows, grove.level_order))

    here = space.anchor()
    path, changes = [here], []
    while True:
        left = _differing(here[0], row)
        if not left:
            break
        there = np.repeat(here, len(left), axis=0)
        there[np.arange(len(left)), left] = row[left]
        there = space.activate(there)
        legal = space.is_legal(there)
        if legal.any():
            value = np.where(legal, told(there, objective) * (-1 if is_maximised else 1), np.inf)
            k = int(np.argmin(value))
            there, left = there[k : k + 1], [left[k]]
        else:
            there = row[None, :].copy()
        changes.append(
            tuple(
                (
                    space.names[j],
                    space.value_of(j, float(here[0, j])),
                    space.value_of(j, float(row[j])),
                )
                for j in left
            )
        )
        here = there
        path.append(here)
    along = {metric: told(np.concatenate(path), metric) for metric in groves}

    def at(k: int) -> dict[str, float]:
        return {metric: float(values[k]) for metric, values in along.items()}

    return Ablation(at(0), tuple(Step(change, at(k)) for k, change in enumerate(changes, 1)))


def _differing(here: Array, there: Array) -> list[int]:
    """Columns active on both sides with different values."""
    both: Sequence[int] = np.flatnonzero(~np.isnan(here) & ~np.isnan(there)).tolist()
    return [j for j in both if abs(here[j] - there[j]) > 1e-12]
