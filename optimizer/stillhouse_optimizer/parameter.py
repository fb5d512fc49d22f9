"""One hyperparameter: its values, its range and when it is active.

Depends on: the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, cast, get_args

from stillhouse_optimizer.errors import ProblemError

Value = float | int | str | bool | None
Config = Mapping[str, Value]
Kind = Literal["float", "int", "choice", "ordinal"]

_FIELDS = (
    "name",
    "kind",
    "low",
    "high",
    "log",
    "step",
    "default",
    "choices",
    "condition",
    "prior",
)


@dataclass(frozen=True)
class Condition:
    """The parameter is active only while ``parent`` is active and has one of ``values``."""

    parent: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class PriorBelief:
    """Where good values of a range are expected: a normal distribution.

    Attributes:
        center: The likeliest value, within the range.
        width: One standard deviation, in the parameter's unit; on a log scale a factor above 1.
    """

    center: float
    width: float


@dataclass(frozen=True)
class Parameter:
    """One dimension of the search.

    Attributes:
        name: Unique in its problem.
        kind: ``float``, ``int``, ``choice`` (unordered) or ``ordinal`` (ordered).
        low: Smallest value of a float or int.
        high: Largest value of a float or int, included (with a step: the last step not above it).
        log: Whether the range is searched on a log scale.
        step: Distance between values; None means any float, or every int.
        choices: Values of a choice or ordinal.
        default: The value that is tried first.
        conditions: All must hold for the parameter to be active.
        prior: Where good values are expected, of a float or int; it counts less and less.
        weights: How much is expected of each choice, all above 0; empty where nothing is believed.
    """

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None
    choices: tuple[Value, ...] = ()
    default: Value = None
    conditions: tuple[Condition, ...] = ()
    prior: PriorBelief | None = None
    weights: tuple[float, ...] = ()

    @classmethod
    def from_mapping(cls, data: object, where: str = "parameter") -> Parameter:
        """Read the JSON form of docs/architecture.md.

        Raises:
            ProblemError: starts with the path of the field that is wrong.
        """
        if not isinstance(data, Mapping):
            raise ProblemError(where, f"wanted an object, got {type(data).__name__}")
        for key in data:
            if key not in _FIELDS:
                raise ProblemError(
                    f"{where}.{key}", f"unknown field; there are {', '.join(_FIELDS)}"
                )
        name = data.get("name")
        if not isinstance(name, str) or not name:
            raise ProblemError(f"{where}.name", f"wanted a name, got {name!r}")
        kind = data.get("kind")
        if kind not in get_args(Kind):
            known = ", ".join(get_args(Kind))
            raise ProblemError(f"{where}.kind", f"wanted one of {known}, got {kind!r}")
        conditions = _read_conditions(data.get("condition"), name, f"{where}.condition")
        if kind in ("choice", "ordinal"):
            return cls._listed(data, name, cast(Kind, kind), conditions, where)
        return cls._ranged(data, name, cast(Kind, kind), conditions, where)

    @classmethod
    def _listed(
        cls,
        data: Mapping[str, object],
        name: str,
        kind: Kind,
        conditions: tuple[Condition, ...],
        where: str,
    ) -> Parameter:
        for key in ("low", "high", "step"):
            if data.get(key) is not None:
                raise ProblemError(f"{where}.{key}", f"a parameter of kind {kind} has no {key}")
        if data.get("log"):
            raise ProblemError(f"{where}.log", f"a parameter of kind {kind} has no log scale")
        choices = data.get("choices")
        if not isinstance(choices, list | tuple) or not choices:
            raise ProblemError(f"{where}.choices", f"wanted a list of values, got {choices!r}")
        for i, value in enumerate(choices):
            if value is not None and not isinstance(value, float | int | str | bool):
                raise ProblemError(f"{where}.choices[{i}]", f"wanted a scalar, got {value!r}")
            if isinstance(value, float) and not math.isfinite(value):
                raise ProblemError(f"{where}.choices[{i}]", f"must be finite, got {value}")
            if any(same_value(value, earlier) for earlier in choices[:i]):
                raise ProblemError(f"{where}.choices[{i}]", f"{value!r} stands twice")
        # null is a default of its own where it is a choice; only a missing field means "the first".
        default = data.get("default", choices[0])
        if not any(same_value(default, value) for value in choices):
            if default is not None:
                raise ProblemError(f"{where}.default", f"{default!r} is not one of the choices")
            default = choices[0]
        return cls(
            name,
            kind,
            choices=tuple(choices),
            default=cast(Value, default),
            conditions=conditions,
            weights=_read_weights(data.get("prior"), choices, f"{where}.prior"),
        )

    @classmethod
    def _ranged(
        cls,
        data: Mapping[str, object],
        name: str,
        kind: Kind,
        conditions: tuple[Condition, ...],
        where: str,
    ) -> Parameter:
        if data.get("choices"):
            raise ProblemError(f"{where}.choices", f"a parameter of kind {kind} has no choices")
        low = read_number(data.get("low"), f"{where}.low", whole=kind == "int")
        high = read_number(data.get("high"), f"{where}.high", whole=kind == "int")
        if low > high:
            raise ProblemError(f"{where}.low", f"{low:g} lies above high, {high:g}")
        log = data.get("log") or False
        if not isinstance(log, bool):
            raise ProblemError(f"{where}.log", f"wanted true or false, got {log!r}")
        if log and low <= 0:
            raise ProblemError(f"{where}.low", f"a log scale needs a low above 0, got {low:g}")
        step: float | None = None
        if data.get("step") is not None:
            step = read_number(data["step"], f"{where}.step", whole=kind == "int")
            if step <= 0:
                raise ProblemError(f"{where}.step", f"must be above 0, got {step:g}")
            if (high - low) / step > 1e6:
                raise ProblemError(
                    f"{where}.step", f"{step:g} cuts the range into over a million values"
                )
        prior = _read_prior(data.get("prior"), low, high, log, f"{where}.prior")
        bare = cls(name, kind, low, high, log, step, conditions=conditions, prior=prior)
        if data.get("default") is None:
            middle = math.sqrt(low * high) if log else (low + high) / 2
            return replace(bare, default=bare.snap(middle))
        default = read_number(data["default"], f"{where}.default", whole=kind == "int")
        if not bare.allows(default):
            near = bare.snap(min(max(default, low), high))
            raise ProblemError(f"{where}.default", f"{default:g} is not in the range; near: {near}")
        return replace(bare, default=bare.snap(default))

    @property
    def is_listed(self) -> bool:
        """Whether the values are listed (choice, ordinal) rather than a range."""
        return self.kind in ("choice", "ordinal")

    @property
    def is_continuous(self) -> bool:
        """Whether any number of the range is a value."""
        return self.kind == "float" and self.step is None and self.low < self.high

    @property
    def n_values(self) -> int | None:
        """How many values there are; None for a continuous range."""
        if self.is_listed:
            return len(self.choices)
        if self.is_continuous:
            return None
        if self.low == self.high:
            return 1
        # The small slack lets 0.1, 0.2, ... reach 0.7 although 0.6 / 0.1 rounds below 6.
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def value_at(self, level: int) -> Value:
        """The ``level``-th value, from 0, of a parameter with countable values."""
        if self.is_listed:
            return self.choices[level]
        if self.low == self.high:
            return self.low if self.kind == "float" else int(self.low)
        if self.kind == "int":
            return int(self.low) + level * int(self.step or 1)
        # Decimal, so that the third step of 0.1 is 0.3 and not 0.30000000000000004.
        return float(Decimal(repr(self.low)) + level * Decimal(repr(self.step)))

    def level_of(self, value: Value) -> int | None:
        """Index of ``value`` among countable values; None when it is none of them."""
        if self.is_listed:
            for i, choice in enumerate(self.choices):
                if same_value(value, choice):
                    return i
            return None
        if isinstance(value, bool) or not isinstance(value, float | int):
            return None
        n = self.n_values
        if n is None or not math.isfinite(value):
            return None
        level = 0 if n == 1 else round((value - self.low) / (self.step or 1))
        if not 0 <= level < n:
            return None
        at = cast(float, self.value_at(level))
        return level if abs(at - value) <= 1e-9 * max(abs(at), self.step or 1, 1e-12) else None

    def allows(self, value: Value) -> bool:
        """Whether ``value`` is one of this parameter's values."""
        if not self.is_continuous:
            return self.level_of(value) is not None
        if isinstance(value, bool) or not isinstance(value, float | int):
            return False
        return self.low <= value <= self.high

    def snap(self, value: float) -> Value:
        """The value of a range nearest to ``value``, which must lie within low and high."""
        if self.is_continuous:
            return float(value)
        n = cast(int, self.n_values)
        level = 0 if n == 1 else round((value - self.low) / (self.step or 1))
        return self.value_at(min(max(level, 0), n - 1))


def same_value(one: object, other: object) -> bool:
    """Equality in which True is not 1: a choice may hold both."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def read_number(value: object, where: str, whole: bool = False) -> float:
    """A finite number from outside; with ``whole`` an int.

    Raises:
        ProblemError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise ProblemError(where, f"wanted a number, got {value!r}")
    if not math.isfinite(value):
        raise ProblemError(where, f"must be finite, got {value}")
    if whole:
        if int(value) != value:
            raise ProblemError(where, f"wanted a whole number, got {value!r}")
        return int(value)
    return float(value)


def _read_conditions(data: object, name: str, where: str) -> tuple[Condition, ...]:
    if data is None:
        return ()
    if not isinstance(data, list | tuple):
        raise ProblemError(where, f"wanted null or a list of conditions, got {data!r}")
    conditions = []
    for i, item in enumerate(data):
        if not isinstance(item, Mapping) or set(item) != {"parent", "values"}:
            raise ProblemError(f"{where}[{i}]", f'wanted {{"parent", "values"}}, got {item!r}')
        parent, values = item["parent"], item["values"]
        if not isinstance(parent, str) or parent == name:
            raise ProblemError(f"{where}[{i}].parent", f"wanted another parameter, got {parent!r}")
        if not isinstance(values, list | tuple) or not values:
            raise ProblemError(f"{where}[{i}].values", f"wanted a list of values, got {values!r}")
        conditions.append(Condition(parent, tuple(values)))
    return tuple(conditions)


def _read_weights(data: object, choices: Sequence[object], where: str) -> tuple[float, ...]:
    if data is None:
        return ()
    if not isinstance(data, Mapping) or set(data) != {"weights"}:
        raise ProblemError(where, f'wanted {{"weights"}}, one for each choice, got {data!r}')
    told, where = data["weights"], f"{where}.weights"
    if not isinstance(told, list | tuple) or len(told) != len(choices):
        raise ProblemError(where, f"wanted {len(choices)} weights, one for each choice, got {told}")
    weights = tuple(read_number(weight, f"{where}[{i}]") for i, weight in enumerate(told))
    for i, weight in enumerate(weights):
        if not 1e-6 <= weight <= 1e6:
            raise ProblemError(f"{where}[{i}]", f"must lie between 1e-6 and 1e6, got {weight:g}")
    return weights


def _read_prior(data: object, low: float, high: float, log: bool, where: str) -> PriorBelief | None:
    if data is None:
        return None
    if not isinstance(data, Mapping) or set(data) != {"center", "width"}:
        raise ProblemError(where, f'wanted {{"center", "width"}}, got {data!r}')
    if low == high:
        raise ProblemError(where, "a single value needs no prior")
    center = read_number(data["center"], f"{where}.center")
    width = read_number(data["width"], f"{where}.width")
    if not low <= center <= high:
        raise ProblemError(
            f"{where}.center", f"must lie within {low:g} and {high:g}, got {center:g}"
        )
    if log and width <= 1:
        message = f"on a log scale a factor above 1, such as 3, got {width:g}"
        raise ProblemError(f"{where}.width", message)
    if width <= 0:
        raise ProblemError(f"{where}.width", f"must be above 0, got {width:g}")
    return PriorBelief(center, width)
