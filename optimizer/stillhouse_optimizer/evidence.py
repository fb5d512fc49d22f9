"""What the trials so far say, as arrays for models.

Depends on: numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.encoding import encode_all
from stillhouse_optimizer.errors import ProblemError
from stillhouse_optimizer.feasibility import end_of, is_feasible
from stillhouse_optimizer.parameter import Config
from stillhouse_optimizer.space import Rows, Space
from stillhouse_optimizer.spec import (
    Constraint,
    Observation,
    Problem,
    is_maximised,
    reference_point,
)

Array = NDArray[np.float64]

# Metrics whose ratios mean something: half the latency is as much as a quarter from a half.
_RATIO_ENDINGS = ("_ms", "_s", "_ratio", "_bytes", "macs", "params", "_per_s")
# No metric is larger; squares of what is would overflow.
_LARGEST = 1e15
# Trials nearest to a bound whose intervals say how wide one is there.
_N_NEAR = 10


@dataclass(frozen=True)
class Target:
    """How a metric is modelled: negated when more is better, on a log scale when it is a ratio.

    Attributes:
        metric: Its name.
        is_log: Whether the logarithm is modelled.
        sign: 1, or -1 where the model sees the negative.
    """

    metric: str
    is_log: bool
    sign: float

    def to_model(self, value: float) -> float:
        """The modelled value of a raw one."""
        return self.sign * (math.log(value) if self.is_log else value)

    def to_raw(self, modelled: float) -> float:
        """The raw value of a modelled one."""
        value = self.sign * modelled
        return math.exp(min(value, 700.0)) if self.is_log else value


@dataclass(frozen=True)
class Evidence:
    """Finished and running trials of one problem.

    Attributes:
        rows: Finished trials' configs (n, n_parameters), in trial order.
        is_measured: Which of them have every metric that is modelled; shape (n,).
        is_feasible: Which of those meet every limit, at the unfavourable ends of their intervals as
            soon as one trial does; shape (n,).
        objectives: For each objective how it is modelled, to be minimised, and its modelled values
            of the measured trials; shape (n_measured,).
        reference: The reference point of several objectives as modelled, no further out than a
            limit of the same metric; empty of one.
        limits: For each constraint its target (upright: the limit is an upper one), the bound as
            modelled, less what an interval near it takes, and the measured trials' values.
        pending: Running trials' configs (n_pending, n_parameters).
        stopped: Configs of trials that were ended early on purpose (n_stopped, n_parameters). They
            count in none of the above.
        known: Metric -> which of these have it, shape (n_stopped,), and their raw values.
        notes: Plain sentences on what was left out.
    """

    rows: Rows
    is_measured: NDArray[np.bool_]
    is_feasible: NDArray[np.bool_]
    objectives: tuple[tuple[Target, Array], ...]
    reference: Array
    limits: tuple[tuple[Target, float, Array], ...]
    pending: Rows
    stopped: Rows
    known: Mapping[str, tuple[NDArray[np.bool_], Array]]
    notes: tuple[str, ...]

    def also(self, target: Target) -> tuple[Rows, Array]:
        """Configs and modelled values of the stopped trials that have a metric."""
        if target.metric not in self.known:
            return self.stopped[:0], np.zeros(0)
        has, values = self.known[target.metric]
        has = has & (values > 0) if target.is_log else has
        return self.stopped[has], np.array([target.to_model(v) for v in values[has]], dtype=float)


def gather(
    problem: Problem,
    space: Space,
    history: Sequence[Observation],
    pending: Sequence[Config],
) -> Evidence:
    """Read trials into arrays; a trial that makes no sense is noted, never an error."""
    notes: list[str] = []
    ended = [o for o in history if o.status != "stopped"]
    rows, kept = _encode(space, [o.config for o in ended], "trial", notes)
    observations = [ended[i] for i in kept]
    early = [o for o in history if o.status == "stopped"]
    stopped, of_early = _encode(space, [o.config for o in early], "stopped trial", notes)
    pending_rows, _ = _encode(space, pending, "running trial", notes)

    wanted = [*problem.objectives, *(c.metric for c in problem.constraints)]
    measured = np.array([_is_measured(o, wanted) for o in observations], dtype=bool)
    lost = [
        i
        for i, o, ok in zip(kept, observations, measured, strict=True)
        if o.status == "complete" and not ok
    ]
    if lost:
        names = ", ".join(dict.fromkeys(wanted))
        notes.append(f"{_trials(lost)} counted as failed: no usable value of {names}")
    values = [o.metrics or {} for o, ok in zip(observations, measured, strict=True) if ok]
    feasible = np.zeros(len(observations), dtype=bool)
    feasible[measured] = [is_feasible(v, problem.constraints)[0] for v in values]
    sure = np.zeros(len(observations), dtype=bool)
    sure[measured] = [
        ok and _holds_at_ends(v, problem.constraints)
        for v, ok in zip(values, feasible[measured].tolist(), strict=True)
    ]
    # A trial at the limit itself would be no incumbent: its interval reaches beyond. Where not even
    # one trial's interval keeps the limits, measured values must do.
    has_margin = bool(sure.any())
    if has_margin:
        feasible = sure

    limits = tuple(_limit(constraint, values, has_margin) for constraint in problem.constraints)
    corner = reference_point(problem) if problem.further else (math.nan,)
    objectives = tuple(
        _objective(metric, values, worst)
        for metric, worst in zip(problem.objectives, corner, strict=True)
    )
    reference = np.array([])
    if problem.further:
        reference = _reference(corner, objectives, limits)
        notes += _constant(objectives)

    return Evidence(
        rows=rows,
        is_measured=measured,
        is_feasible=feasible,
        objectives=objectives,
        reference=reference,
        limits=limits,
        pending=pending_rows,
        stopped=stopped,
        known=_known([early[i] for i in of_early], wanted),
        notes=tuple(notes),
    )


def _known(
    trials: Sequence[Observation], metrics: Sequence[str]
) -> dict[str, tuple[NDArray[np.bool_], Array]]:
    found = {}
    for metric in metrics:
        values = np.array([(o.metrics or {}).get(metric, math.nan) for o in trials], dtype=float)
        found[metric] = np.array([_is_usable(v) for v in values], dtype=bool), values
    return found


def _encode(
    space: Space, configs: Sequence[Config], what: str, notes: list[str]
) -> tuple[Rows, list[int]]:
    rows, fits = encode_all(space, configs)
    for i in np.flatnonzero(~fits).tolist():
        try:
            rows[i] = space.encode(configs[i], f"{what} {i}")
        except ProblemError as error:
            notes.append(f"left out, does not fit the space: {error}")
        else:
            fits[i] = True
    return rows[fits], np.flatnonzero(fits).tolist()


def _is_measured(observation: Observation, metrics: Sequence[str]) -> bool:
    if observation.status != "complete" or observation.metrics is None:
        return False
    for metric in metrics:
        value = observation.metrics.get(metric)
        if value is None or not _is_usable(value):
            return False
    return True


def _is_usable(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= _LARGEST


def _target(metric: str, sign: float, values: Sequence[float]) -> Target:
    return Target(metric, metric.endswith(_RATIO_ENDINGS) and all(v > 0 for v in values), sign)


def _objective(
    metric: str, trials: Sequence[Mapping[str, float]], worst: float
) -> tuple[Target, Array]:
    values = [trial[metric] for trial in trials]
    known = values if math.isnan(worst) else [*values, worst]
    target = _target(metric, -1.0 if is_maximised(metric) else 1.0, known)
    return target, np.array([target.to_model(v) for v in values], dtype=float)


def _reference(
    corner: Sequence[float],
    objectives: Sequence[tuple[Target, Array]],
    limits: Sequence[tuple[Target, float, Array]],
) -> Array:
    """The corner as modelled; what lies beyond a limit is of no interest, margin included."""
    found = []
    for raw, (target, _) in zip(corner, objectives, strict=True):
        bounds = [bound for other, bound, _ in limits if other == target]
        found.append(min([target.to_model(raw), *bounds]))
    return np.array(found)


def _constant(objectives: Sequence[tuple[Target, Array]]) -> list[str]:
    return [
        f"{target.metric} is the same in all {len(y)} measured trials: it orders none of them"
        for target, y in objectives
        if len(y) > 1 and np.ptp(y) == 0
    ]


def _holds_at_ends(metrics: Mapping[str, float], constraints: Sequence[Constraint]) -> bool:
    ends = ((c, end_of(metrics, c)) for c in constraints)
    return all(end is None or c.is_met(end) for c, end in ends)


def _limit(
    constraint: Constraint, trials: Sequence[Mapping[str, float]], has_margin: bool
) -> tuple[Target, float, Array]:
    sign = 1.0 if constraint.is_upper else -1.0
    values = [trial[constraint.metric] for trial in trials]
    target = _target(constraint.metric, sign, [*values, constraint.bound])
    modelled = np.array([target.to_model(v) for v in values], dtype=float)
    bound = target.to_model(constraint.bound)
    if has_margin:
        bound -= _margin(constraint, target, bound, trials, modelled)
    return target, bound, modelled


def _margin(
    constraint: Constraint,
    target: Target,
    bound: float,
    trials: Sequence[Mapping[str, float]],
    modelled: Array,
) -> float:
    """How far, as modelled, an interval reaches beyond a value near the bound; 0 without any."""
    widths = []
    for i in np.argsort(np.abs(modelled - bound), kind="stable"):
        end = end_of(trials[i], constraint)
        if end is not None and _is_usable(end) and not (target.is_log and end <= 0):
            widths.append(max(target.to_model(end) - float(modelled[i]), 0.0))
            if len(widths) == _N_NEAR:
                break
    return float(np.median(widths)) if widths else 0.0


def _trials(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(n) for n in numbers[:5])
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"{'trial' if len(numbers) == 1 else 'trials'} {shown}{more}"
