"""Finished studies to learn from: what their trials say in the space of another.

Depends on: numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.errors import ProblemError
from stillhouse_optimizer.feasibility import is_feasible
from stillhouse_optimizer.parameter import Config, Parameter
from stillhouse_optimizer.space import Rows, Space
from stillhouse_optimizer.spec import Observation, Problem, is_maximised

Array = NDArray[np.float64]

# A source with fewer usable trials of a metric has no model of it.
FEWEST_TRIALS = 5


@dataclass(frozen=True)
class Source:
    """A finished study to learn from.

    Attributes:
        name: What it is called in notes and weights.
        parameters: Its own.
        history: Its finished trials.
    """

    name: str
    parameters: tuple[Parameter, ...]
    history: Sequence[Observation]


def shared(here: Sequence[Parameter], there: Sequence[Parameter]) -> tuple[str, ...]:
    """Names of parameters of the same kind that have values in common; the order is ``here``'s."""
    known = {parameter.name: parameter for parameter in there}
    return tuple(p.name for p in here if p.name in known and _overlaps(p, known[p.name]))


def _overlaps(one: Parameter, other: Parameter) -> bool:
    if one.is_listed != other.is_listed:
        return False
    if one.is_listed:
        return any(other.allows(value) for value in one.choices)
    return max(one.low, other.low) <= min(one.high, other.high)


def check_source(problem: Problem, source: Source) -> tuple[str, ...]:
    """Make sure that a source has something to say.

    Returns:
        The names of the shared parameters.

    Raises:
        ProblemError: No parameter is shared, or hardly a trial lies within this space, or none
            measured what is wanted here.
    """
    names = shared(problem.parameters, source.parameters)
    if not names:
        raise ProblemError(
            source.name,
            "its space has nothing in common with this one: there "
            f"{_listed(source.parameters)}, here {_listed(problem.parameters)}",
        )
    _, kept = rows_of(Space(problem), source)
    told = [source.history[i] for i in kept]
    for metric in dict.fromkeys([*problem.objectives, *(c.metric for c in problem.constraints)]):
        n = sum(value_of(trial, metric) is not None for trial in told)
        if n < FEWEST_TRIALS:
            raise ProblemError(
                source.name,
                f"only {n} of its {len(source.history)} trials lie within this space and have "
                f"{metric}; at least {FEWEST_TRIALS} are wanted",
            )
    return names


def _listed(parameters: Sequence[Parameter]) -> str:
    names = [parameter.name for parameter in parameters]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def rows_of(space: Space, source: Source) -> tuple[Rows, list[int]]:
    """A source's trials in this study's space.

    Parameters of the same name and kind keep their values; what a trial does not say has its
    default here. A trial with a value outside of this space is left out.

    Returns:
        Rows (k, n_parameters), and each one's place in the source's history.
    """
    names = set(shared(space.parameters, source.parameters))
    rows, kept = [], []
    for i, trial in enumerate(source.history):
        row = _row(space, names, trial.config)
        if row is not None:
            rows.append(row)
            kept.append(i)
    found = np.array(rows).reshape(-1, len(space.names))
    return space.activate(found), kept


def _row(space: Space, names: set[str], config: Config) -> Array | None:
    row = space.default_codes.copy()
    for j, parameter in enumerate(space.parameters):
        if parameter.name not in names or parameter.name not in config:
            continue
        value = config[parameter.name]
        if not parameter.is_listed and not parameter.allows(value):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not parameter.low <= float(value) <= parameter.high:  # type: ignore[arg-type]  # a number, see above
                return None
            value = parameter.snap(float(value))  # type: ignore[arg-type]  # another step here
        if not parameter.allows(value):
            return None
        row[j] = space.code_of(j, value)
    return row


def value_of(trial: Observation, metric: str) -> float | None:
    """A finished trial's value of a metric; None where there is no usable one."""
    value = (trial.metrics or {}).get(metric) if trial.status == "complete" else None
    return value if value is not None and math.isfinite(value) and abs(value) <= 1e15 else None


def best_rows(problem: Problem, space: Space, sources: Sequence[Source], n: int) -> Rows:
    """Good and different configs of sources, judged by this study's limits; at most n rows.

    Sources take turns; of each the best comes first, then of its next best ones each time the one
    that is farthest from those taken.
    """
    by_source = [_best_of(problem, space, source, n) for source in sources]
    turns: list[Array] = []
    for k in range(n):
        turns += [rows[k] for rows in by_source if k < len(rows)]
    return np.array(turns[:n]).reshape(-1, len(space.names))


def _best_of(problem: Problem, space: Space, source: Source, n: int) -> Rows:
    rows, kept = rows_of(space, source)
    sign = -1.0 if is_maximised(problem.objective) else 1.0
    ranked: list[tuple[tuple[float, float, int], int]] = []
    for at, i in enumerate(kept):
        trial = source.history[i]
        value = value_of(trial, problem.objective)
        if value is None or not space.is_legal(rows[at : at + 1])[0]:
            continue
        _, violations = is_feasible(trial.metrics or {}, problem.constraints)
        missed = sum(math.inf if v is None else v for v in violations.values())
        ranked.append(((missed, sign * value, at), at))
    pool = [at for _, at in sorted(ranked)][: 2 * n]
    codes = np.nan_to_num(rows, nan=-1.0)
    chosen = pool[:1]
    while len(chosen) < min(n, len(pool)):
        left = [at for at in pool if at not in chosen]
        far = [min(float(np.abs(codes[a] - codes[b]).sum()) for b in chosen) for a in left]
        chosen.append(left[int(np.argmax(far))])
    return rows[chosen]
