"""What a class of the schedule language takes: its arguments and how each is checked.

Depends on: the standard library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from stillhouse_compression.errors import nearest, shown
from stillhouse_compression.schedule.window import Window

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


class Refused(Exception):
    """A value is not what its argument takes; the message says what was found and allowed."""


Check = Callable[[object], Any]
"""Returns the value as the class wants it, or raises :class:`Refused`."""


def number(
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    what: str = "a number",
) -> Check:
    """A finite number in [``low``, ``high``], or in (``low``, ``high``] with ``open_low``.

    ``1e-5`` is a number too, although YAML 1.1 reads it as text.
    """

    def check(value: object) -> float:
        if isinstance(value, str) and NUMBER.fullmatch(value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused(f"found {shown(value)}, wanted {what}{_range(low, high, open_low)}")
        try:
            converted = float(value)
        except OverflowError:
            converted = math.inf
        inside = low < converted <= high if open_low else low <= converted <= high
        if not inside or not math.isfinite(converted):
            raise Refused(f"found {shown(value)}, wanted {what}{_range(low, high, open_low)}")
        return converted

    return check


def _range(low: float, high: float, open_low: bool) -> str:
    if low == -math.inf and high == math.inf:
        return ""
    if high == math.inf:
        return f" above {low:g}" if open_low else f" from {low:g} up"
    return f" in {'(' if open_low else '['}{low:g}, {high:g}]"


FRACTION = number(0.0, 1.0, what="a fraction")


def integer(low: int, high: int = 2**31) -> Check:
    """A whole number in [``low``, ``high``]."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Refused(f"found {shown(value)}, wanted a whole number from {low} up")
        return value

    return check


def boolean(value: object) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise Refused(f"found {shown(value)}, wanted true or false")
    return value


def choice(*allowed: str) -> Check:
    """One of a few words."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise Refused(
                f"found {shown(value)}, allowed: {', '.join(allowed)}{nearest(value, allowed)}"
            )
        return value

    return check


def optional(inner: Check) -> Check:
    """What ``inner`` takes, or null."""
    return lambda value: None if value is None else inner(value)


def text(value: object) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise Refused(f"found {shown(value)}, wanted text")
    return value


def anything(value: object) -> object:
    """Any value; for arguments that the original takes and never uses."""
    return value


def list_of(inner: Check, *, length: int | None = None) -> Check:
    """A list of what ``inner`` takes, of ``length`` items if that is given."""

    def check(value: object) -> list[Any]:
        if not isinstance(value, list | tuple) or (length is not None and len(value) != length):
            size = "" if length is None else f" of {length} items"
            raise Refused(f"found {shown(value)}, wanted a list{size}")
        return [inner(item) for item in value]

    return check


def tuple_of(*inner: Check) -> Check:
    """A list with one check an item, e.g. ``[0.1, Filters]``."""

    def check(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) != len(inner):
            raise Refused(f"found {shown(value)}, wanted a list of {len(inner)} items")
        return tuple(check_item(item) for check_item, item in zip(inner, value, strict=True))

    return check


ROUNDING: Mapping[str, Callable[[float], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
}


@dataclass(frozen=True)
class Argument:
    """One argument of a class.

    Attributes:
        name: Its key in YAML.
        check: Check of the value, or of each value of a ``"map"``.
        required: Whether it must be given.
        default: What it is when not given.
        names: ``"list"``: a list of parameter names; ``"map"``: a mapping keyed by
            parameter names; ``"none"``: neither.
        wildcard: The key ``*`` is taken and means every parameter not named.
    """

    name: str
    check: Check = anything
    required: bool = True
    default: Any = None
    names: Literal["none", "list", "map"] = "none"
    wildcard: bool = False


def given(name: str, check: Check) -> Argument:
    """An argument that must be given."""
    return Argument(name, check)


def default(name: str, check: Check, value: Any) -> Argument:
    """An argument with a default value."""
    return Argument(name, check, required=False, default=value)


WEIGHTS = Argument("weights", text, names="list")

Arguments = Mapping[str, Any]
Shapes = Mapping[str, Sequence[int]]


def _no_fault(arguments: Arguments) -> Iterable[tuple[str, str]]:
    return ()


def _fits(arguments: Arguments, shapes: Shapes) -> Iterable[tuple[str, str]]:
    return ()


def any_window(arguments: Arguments, window: Window) -> str | None:
    """Nothing against any window."""
    return None


@dataclass(frozen=True)
class Building:
    """What an instance is built for.

    Attributes:
        model: The network (a ``torch.nn.Module``).
        optimizer: Its optimizer (a ``torch.optim.Optimizer``), or None.
        last_epoch: The epoch that training resumes after, or -1.
    """

    model: Any
    optimizer: Any = None
    last_epoch: int = -1


@dataclass(frozen=True)
class ClassSpec:
    """A class that a schedule may name.

    Attributes:
        name: Its name in YAML.
        section: ``pruners``, ``regularizers``, ``lr_schedulers`` or ``extensions``.
        arguments: What it takes.
        build: Makes the instance from its name, its checked arguments (names expanded to
            the model's own) and what it is built for.
        faults: Faults between arguments, each as (argument, message).
        fits: Why it cannot treat parameters of these shapes, each as (argument, message).
        window: Why it cannot run in that window, or None.
    """

    name: str
    section: Literal["pruners", "regularizers", "lr_schedulers", "extensions"]
    arguments: tuple[Argument, ...]
    build: Callable[[str, Arguments, Building], Any]
    faults: Callable[[Arguments], Iterable[tuple[str, str]]] = field(default=_no_fault)
    fits: Callable[[Arguments, Shapes], Iterable[tuple[str, str]]] = field(default=_fits)
    window: Callable[[Arguments, Window], str | None] = field(default=any_window)
