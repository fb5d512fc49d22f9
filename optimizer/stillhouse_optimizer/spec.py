"""The problem, what was observed and what is proposed, as plain data.

Depends on: the standard library. Every reader of outside data here is strict: an unknown field,
a wrong type or an empty range is a ProblemError that starts with the field's path.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from stillhouse_optimizer.errors import OptimizerError, ProblemError
from stillhouse_optimizer.parameter import Config, Parameter, Value, read_number

__all__ = [
    "Config",
    "Constraint",
    "Observation",
    "Parameter",
    "Problem",
    "Proposal",
    "Value",
    "is_maximised",
    "reference_point",
]

Operator = Literal["<=", ">=", "<", ">"]
Origin = Literal["initial", "model", "random"]
Status = Literal["complete", "failed", "unsupported", "stopped"]
SurrogateName = Literal["forest", "forest_plain", "gp", "auto"]

# Every other metric is better when smaller.
MAXIMISED = frozenset({"throughput_per_s", "top1", "top5"})

MOST_OBJECTIVES = 3
# Metrics that order networks alike: no front lies between two of one set.
SAME = (
    frozenset({"latency_p50_ms", "latency_ratio", "throughput_per_s"}),
    frozenset({"top1", "top1_drop"}),
)

_CONSTRAINT = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*([^\s*]+)\s*(\*\s*baseline)?\s*")


def is_maximised(metric: str) -> bool:
    """Whether more of ``metric`` is better; the one table of senses."""
    return metric in MAXIMISED


@dataclass(frozen=True)
class Constraint:
    """A limit that a trial must meet to be feasible.

    Attributes:
        metric: Name of a metric in ``Observation.metrics``, in that metric's own unit.
        op: How the metric must stand to the bound.
        bound: The limit, or that share of the baseline's value.
        is_relative: Whether it is a share; ``against`` makes it absolute.
    """

    metric: str
    op: Operator
    bound: float
    is_relative: bool = False

    @classmethod
    def parse(cls, text: str, where: str = "constraint") -> Constraint:
        """Read ``"top1_drop <= 0.02"`` or ``"model_bytes <= 0.5 * baseline"``.

        Raises:
            ProblemError: the text is not ``metric op number``.
        """
        match = _CONSTRAINT.fullmatch(text)
        if match is None:
            raise ProblemError(where, f"wanted e.g. 'top1_drop <= 0.02', got {text!r}")
        try:
            bound = float(match[3])
        except ValueError:
            raise ProblemError(where, f"the bound must be a number, got {match[3]!r}") from None
        return cls._checked(match[1], match[2], bound, where, match[4] is not None)

    @classmethod
    def from_mapping(cls, data: object, where: str = "constraint") -> Constraint:
        """Read ``{"metric", "op", "bound"}`` (and ``"is_relative"``) or the text form.

        Raises:
            ProblemError: a field is missing, unknown or of the wrong type.
        """
        if isinstance(data, str):
            return cls.parse(data, where)
        fields = _object(data, where, ("metric", "op", "bound"), optional=("is_relative",))
        metric = fields["metric"]
        if not isinstance(metric, str) or not metric:
            raise ProblemError(f"{where}.metric", f"wanted a metric's name, got {metric!r}")
        bound = read_number(fields["bound"], f"{where}.bound")
        is_relative = fields.get("is_relative", False)
        if not isinstance(is_relative, bool):
            raise ProblemError(f"{where}.is_relative", f"wanted true or false, got {is_relative!r}")
        return cls._checked(metric, fields["op"], bound, where, is_relative)

    @classmethod
    def _checked(
        cls, metric: str, op: object, bound: float, where: str, is_relative: bool
    ) -> Constraint:
        if op not in get_args(Operator):
            raise ProblemError(f"{where}.op", f"wanted one of <=, >=, <, >, got {op!r}")
        if not math.isfinite(bound):
            raise ProblemError(f"{where}.bound", f"must be finite, got {bound}")
        return cls(metric, cast(Operator, op), bound, is_relative)

    def against(self, baseline: Mapping[str, float]) -> Constraint:
        """The same limit as an absolute one.

        Args:
            baseline: The baseline's metrics.

        Raises:
            ProblemError: it is relative, and the baseline's value is not known.
        """
        if not self.is_relative:
            return self
        value = baseline.get(self.metric)
        if value is None or not math.isfinite(value):
            raise ProblemError("constraint", f"{self}: the baseline's {self.metric} is not known")
        return Constraint(self.metric, self.op, self.bound * value)

    @property
    def is_upper(self) -> bool:
        """Whether the bound is an upper one (``<=`` or ``<``)."""
        return self.op in ("<=", "<")

    def is_met(self, value: float) -> bool:
        """Whether ``value`` satisfies the limit; NaN never does.

        Raises:
            OptimizerError: the limit is relative and not yet held against a baseline.
        """
        if self.is_relative:
            raise OptimizerError(f"{self} is relative; hold it against the baseline first")
        if self.op == "<=":
            return value <= self.bound
        if self.op == ">=":
            return value >= self.bound
        return value < self.bound if self.op == "<" else value > self.bound

    def __str__(self) -> str:
        share = " * baseline" if self.is_relative else ""
        return f"{self.metric} {self.op} {self.bound:g}{share}"


@dataclass(frozen=True)
class Problem:
    """What is searched, what is minimised and under which limits.

    Attributes:
        parameters: In the order of the template; names are unique.
        forbidden: Combinations not allowed: a config is illegal when every named parameter is
            active and has one of the listed values.
        objective: Metric to improve, in the sense of ``is_maximised``; the first of several.
        constraints: All must hold for a trial to be feasible.
        n_initial: Trials before a model proposes.
        surrogate: Which model proposes.
        further: More objectives, at most two: then a front is searched.
        reference: Metric -> value that a front's hypervolume is measured from, where it is not to
            be the limit's (see ``reference_point``).
    """

    parameters: tuple[Parameter, ...]
    objective: str = "latency_ratio"
    constraints: tuple[Constraint, ...] = ()
    forbidden: tuple[Mapping[str, tuple[Value, ...]], ...] = ()
    n_initial: int = 10
    surrogate: SurrogateName = "forest"
    further: tuple[str, ...] = ()
    reference: Mapping[str, float] = field(default_factory=dict)

    @property
    def objectives(self) -> tuple[str, ...]:
        """Every objective, in the order in which they were named."""
        return (self.objective, *self.further)

    @classmethod
    def from_mapping(cls, data: object) -> Problem:
        """Read the JSON form of docs/architecture.md.

        Args:
            data: ``{"parameters", "forbidden"?, "objectives"?, "constraints"?, "n_initial"?,
                "surrogate"?, "reference"?}``.

        Raises:
            ProblemError: starts with the path of the field that is wrong, such as
                ``parameters[3].low``.
        """
        fields = _object(
            data,
            "",
            required=("parameters",),
            optional=(
                "forbidden",
                "objectives",
                "constraints",
                "n_initial",
                "surrogate",
                "reference",
            ),
        )
        parameters = tuple(
            Parameter.from_mapping(item, f"parameters[{i}]")
            for i, item in enumerate(_sequence(fields["parameters"], "parameters"))
        )
        if not parameters:
            raise ProblemError("parameters", "a search needs at least one parameter")
        by_name: dict[str, Parameter] = {}
        for i, parameter in enumerate(parameters):
            if parameter.name in by_name:
                raise ProblemError(f"parameters[{i}].name", f"{parameter.name!r} stands twice")
            by_name[parameter.name] = parameter
        for i, parameter in enumerate(parameters):
            _check_conditions(parameter, by_name, f"parameters[{i}].condition")
        objectives = _objectives(fields.get("objectives", ["latency_ratio"]))
        n_initial = fields.get("n_initial", 10)
        if isinstance(n_initial, bool) or not isinstance(n_initial, int) or n_initial < 1:
            raise ProblemError(
                "n_initial", f"wanted a whole number of at least 1, got {n_initial!r}"
            )
        surrogate = fields.get("surrogate", "forest")
        if surrogate not in get_args(SurrogateName):
            known = ", ".join(get_args(SurrogateName))
            raise ProblemError("surrogate", f"wanted one of {known}, got {surrogate!r}")
        return cls(
            parameters=parameters,
            objective=objectives[0],
            constraints=tuple(
                Constraint.from_mapping(item, f"constraints[{i}]")
                for i, item in enumerate(_sequence(fields.get("constraints", []), "constraints"))
            ),
            forbidden=tuple(
                _clause(item, by_name, f"forbidden[{i}]")
                for i, item in enumerate(_sequence(fields.get("forbidden", []), "forbidden"))
            ),
            n_initial=n_initial,
            surrogate=cast(SurrogateName, surrogate),
            further=objectives[1:],
            reference=_reference(fields.get("reference", {}), objectives),
        )


@dataclass(frozen=True)
class Observation:
    """One finished trial.

    Attributes:
        config: Its active parameters' values.
        metrics: Raw values by name; None where the trial did not get that far.
        status: ``complete``, ``failed``, ``unsupported`` (the device cannot run it), or
            ``stopped``: ended early on purpose, with the metrics that are known by then.
    """

    config: Config
    metrics: Mapping[str, float] | None = None
    status: Status = "complete"


@dataclass(frozen=True)
class Proposal:
    """A config to try next, and why.

    Attributes:
        config: Values of the active parameters, as plain Python scalars.
        origin: ``initial`` (of the design), ``model`` or ``random`` (there was nothing to model).
        prediction: What the model expects; empty unless ``origin`` is ``model``. Keys:
            ``<metric>`` and ``<metric>_low``/``<metric>_high`` (mean and one standard deviation
            either side) of each objective and constraint, ``p_feasible``, ``p_success``,
            ``log_ei``; of several objectives ``log_ehvi`` and ``hypervolume`` (as expected so far,
            in the same unit) instead.
        notes: Plain sentences on what was left out or assumed.
        weights: For each source that the study learns from, metric -> how much it counts, 0..1;
            the rest is the study's own trials'.
        agreements: For each source, metric -> Kendall's rank correlation of what it predicts of the
            study's trials with what was measured, -1..1.
    """

    config: Config
    origin: Origin
    prediction: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    agreements: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def _objectives(data: object) -> tuple[str, ...]:
    given = _sequence(data, "objectives")
    if not 1 <= len(given) <= MOST_OBJECTIVES:
        raise ProblemError(
            "objectives", f"wanted one to {MOST_OBJECTIVES} metrics' names, got {len(given)}"
        )
    names: list[str] = []
    for i, name in enumerate(given):
        if not isinstance(name, str) or not name:
            raise ProblemError(f"objectives[{i}]", f"wanted a metric's name, got {name!r}")
        for earlier in names:
            if name == earlier:
                raise ProblemError(f"objectives[{i}]", f"{name} stands twice")
            if any({name, earlier} <= same for same in SAME):
                raise ProblemError(
                    f"objectives[{i}]",
                    f"{name} says the same as {earlier}: whoever is best in one is best in the "
                    "other, so there is no front between them; leave one out",
                )
        names.append(name)
    return tuple(names)


def _reference(data: object, objectives: Sequence[str]) -> Mapping[str, float]:
    if not isinstance(data, Mapping):
        raise ProblemError("reference", f"wanted metric: value, got {data!r}")
    found: dict[str, float] = {}
    for metric, value in data.items():
        if metric not in objectives:
            message = f"no objective; there are {', '.join(objectives)}"
            raise ProblemError(f"reference.{metric}", message)
        if len(objectives) == 1:
            raise ProblemError("reference", "only several objectives have a front to measure")
        found[str(metric)] = read_number(value, f"reference.{metric}")
    return found


def reference_point(problem: Problem) -> tuple[float, ...]:
    """Where a front's hypervolume is measured from: one raw value for each objective.

    Known before the first trial, so that it never moves: what the problem's ``reference`` says,
    else the limit of that metric (nothing beyond it counts), else 1 for ``latency_ratio`` (as fast
    as the baseline).

    Raises:
        ProblemError: nothing says it for an objective, or a limit is still relative.
    """
    point = []
    for i, metric in enumerate(problem.objectives):
        limits = [
            c.bound
            for c in problem.constraints
            if c.metric == metric and c.is_upper != is_maximised(metric) and not c.is_relative
        ]
        if metric in problem.reference:
            point.append(float(problem.reference[metric]))
        elif limits:
            point.append(max(limits) if is_maximised(metric) else min(limits))
        elif metric == "latency_ratio":
            point.append(1.0)
        else:
            raise ProblemError(
                f"objectives[{i}]",
                f"nothing says from where a front in {metric} is measured: give a limit on it, or "
                f"`reference: {{{metric}: ...}}`, the worst value that is still of interest",
            )
    return tuple(point)


def _check_conditions(parameter: Parameter, by_name: Mapping[str, Parameter], where: str) -> None:
    for j, condition in enumerate(parameter.conditions):
        parent = by_name.get(condition.parent)
        if parent is None:
            raise ProblemError(f"{where}[{j}].parent", f"no parameter {condition.parent!r}")
        if parent.is_continuous:
            raise ProblemError(
                f"{where}[{j}].parent",
                f"{parent.name!r} is continuous; a condition needs a parent with countable values",
            )
        for value in condition.values:
            if not parent.allows(value):
                raise ProblemError(
                    f"{where}[{j}].values", f"{value!r} is not a value of {parent.name!r}"
                )


def _clause(
    item: object, by_name: Mapping[str, Parameter], where: str
) -> Mapping[str, tuple[Value, ...]]:
    if not isinstance(item, Mapping) or not item:
        raise ProblemError(where, f"wanted a mapping of parameter to values, got {item!r}")
    clause: dict[str, tuple[Value, ...]] = {}
    for name, values in item.items():
        if name not in by_name:
            raise ProblemError(where, f"no parameter {name!r}")
        # A single scalar is a list of one; None is a scalar too.
        listed = tuple(values) if isinstance(values, list | tuple) else (values,)
        for value in listed:
            if not by_name[name].allows(value):
                raise ProblemError(f"{where}.{name}", f"{value!r} is not a value of {name!r}")
        clause[name] = listed
    return clause


def _object(
    data: object, where: str, required: Sequence[str], optional: Sequence[str] = ()
) -> Mapping[str, object]:
    if not isinstance(data, Mapping):
        raise ProblemError(where or "problem", f"wanted an object, got {type(data).__name__}")
    prefix = f"{where}." if where else ""
    for key in data:
        if key not in required and key not in optional:
            known = ", ".join([*required, *optional])
            raise ProblemError(f"{prefix}{key}", f"unknown field; there are {known}")
    for key in required:
        if key not in data:
            raise ProblemError(f"{prefix}{key}", "missing")
    return data


def _sequence(data: object, where: str) -> Sequence[object]:
    if not isinstance(data, list | tuple):
        raise ProblemError(where, f"wanted a list, got {type(data).__name__}")
    return data
