"""A search parameter: what may vary, between which bounds, and when.

Depends on: the standard library. Knows nothing of YAML, schedules or the optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, Literal, TypeAlias

from stillhouse_compression.template.safe_yaml import Value

Kind: TypeAlias = Literal["float", "int", "choice", "ordinal"]
Config: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True)
class Condition:
    """Holds where ``parent`` is active and has one of ``values``."""

    parent: str
    values: tuple[Value, ...]

    def holds(self, config: Config) -> bool:
        """Tell whether the config meets it."""
        return self.parent in config and config[self.parent] in self.values


@dataclass(frozen=True)
class Parameter:
    """One dimension of the search space.

    Attributes:
        name: Its path in the template, or the name it was given.
        kind: ``float``, ``int``, ``choice`` (unordered) or ``ordinal`` (ordered).
        default: A value inside the range.
        low: Lower bound of ``float`` and ``int``, included.
        high: Upper bound, included.
        log: Sampled uniformly in the logarithm.
        step: Only ``low + k * step`` are values; None where every number is.
        choices: Values of ``choice`` and ``ordinal``; block names for a block choice.
        condition: All must hold for the parameter to be active.
        prior: Centre and width of where good values of a range are expected; None where nothing is
            believed. With ``log`` the width is a factor.
        weights: How much is expected of each choice, all above 0; empty where nothing is believed.
    """

    name: str
    kind: Kind
    default: Value
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    step: float | int | None = None
    choices: tuple[Value, ...] = ()
    condition: tuple[Condition, ...] = ()
    prior: tuple[float, float] | None = None
    weights: tuple[float, ...] = ()

    @property
    def is_range(self) -> bool:
        """Tell whether it is a number between bounds."""
        return self.kind in ("float", "int")

    def bounds(self) -> tuple[float | int, float | int]:
        """Give ``(low, high)`` of a range.

        Raises:
            ValueError: It is a choice.
        """
        if self.low is None or self.high is None:
            raise ValueError(f"{self.name} has no bounds")
        return self.low, self.high

    def admit(self, value: object) -> Value:
        """Give ``value`` as this parameter's own type.

        Raises:
            ValueError: The value is of another type or outside the range; the message says what
                is allowed.
        """
        if not self.is_range:
            for choice in self.choices:
                # True == 1 in Python; in a schedule they are different things.
                if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                    return choice
            allowed = ", ".join(repr(choice) for choice in self.choices)
            raise ValueError(f"must be one of {allowed}, got {value!r}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"must be a number, got {value!r}")
        low, high = self.bounds()
        if self.kind == "int" and not isinstance(value, int):
            raise ValueError(f"must be a whole number, got {value!r}")
        if not low <= value <= high:
            raise ValueError(f"must lie in [{low}, {high}], got {value!r}")
        number = int(value) if self.kind == "int" else float(value)
        if self.step is not None:
            k = round((number - low) / self.step)
            if abs(self.grid_value(k) - number) > 1e-9 * self.step:
                raise ValueError(f"must be {low} + k * {self.step}, got {value!r}")
        return number

    def grid_size(self) -> int:
        """Count the values of a range with a step.

        Raises:
            ValueError: It has no step.
        """
        low, high = self.bounds()
        step = 1 if self.step is None and self.kind == "int" else self.step
        if step is None:
            raise ValueError(f"{self.name} has no step")
        return int((Decimal(repr(high)) - Decimal(repr(low))) / Decimal(repr(step))) + 1

    def grid_value(self, k: int) -> float | int:
        """Give ``low + k * step``, in decimal so that 0.1 + 3 * 0.05 is 0.25."""
        low, _ = self.bounds()
        exact = Decimal(repr(low)) + k * Decimal(repr(self.step or 1))
        return int(exact) if self.kind == "int" else float(exact)

    def ends(self) -> tuple[Value, Value]:
        """Give the first and the last value."""
        if not self.is_range:
            return self.choices[0], self.choices[-1]
        low, high = self.bounds()
        return low, high if self.step is None else self.grid_value(self.grid_size() - 1)

    def sample(self, rng: Random) -> Value:
        """Draw a value: uniform, or uniform in the logarithm."""
        if not self.is_range:
            return rng.choice(self.choices)
        low, high = self.bounds()
        if self.step is not None:
            return self.grid_value(rng.randrange(self.grid_size()))
        if self.log:
            drawn = math.exp(rng.uniform(math.log(low), math.log(high)))
        elif self.kind == "int":
            return rng.randint(int(low), int(high))
        else:
            drawn = rng.uniform(low, high)
        drawn = min(max(drawn, low), high)
        return round(drawn) if self.kind == "int" else drawn

    def to_json(self) -> dict[str, Any]:
        """Give the shape in which a parameter crosses to the optimizer."""
        shape: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.is_range:
            shape |= {"low": self.low, "high": self.high, "log": self.log, "step": self.step}
        else:
            shape["choices"] = list(self.choices)
        shape["default"] = self.default
        shape["condition"] = [
            {"parent": condition.parent, "values": list(condition.values)}
            for condition in self.condition
        ] or None
        if self.prior is not None:
            shape["prior"] = {"center": self.prior[0], "width": self.prior[1]}
        elif self.weights:
            shape["prior"] = {"weights": list(self.weights)}
        return shape


def middle(
    kind: Kind, low: float | int, high: float | int, log: bool, step: float | int | None
) -> float | int:
    """Give the default of a range that names none: its middle (geometric where ``log``)."""
    if log:
        centre = float(f"{math.sqrt(low) * math.sqrt(high):.6g}")
    else:
        # In decimal, as it was written: the middle of 0.1 and 0.5 is 0.3.
        centre = float((Decimal(repr(low)) + Decimal(repr(high))) / 2)
    centre = min(max(centre, low), high)
    if step is not None:
        grid = Parameter("", kind, None, low, high, step=step)
        return grid.grid_value(min(round((centre - low) / step), grid.grid_size() - 1))
    return round(centre) if kind == "int" else float(centre)
