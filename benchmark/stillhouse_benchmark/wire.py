"""Strict reading of JSON objects, naming the field that is wrong; writing of frozen dataclasses.

Depends on: the standard library. Knows no message: those are in protocol.py.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, Callable, Mapping, TypeVar

from stillhouse_benchmark.errors import ProtocolError

T = TypeVar("T")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Fields:
    """The fields of one JSON object, read one by one.

    A field that is missing, of the wrong type, not finite or outside its range raises
    ``ProtocolError`` with the field's path. Fields nobody asks for are ignored, so that either
    side may add some within one protocol version; ``no_others`` forbids that where a silently
    ignored field would do harm.

    Args:
        value: What the JSON parser gave.
        path: The object's own path, for messages; empty at the top.
    """

    def __init__(self, value: object, path: str = "") -> None:
        self.path = path
        if not isinstance(value, dict):
            raise ProtocolError(path or "message", f"must be an object, got {_say(value)}")
        self._value: Mapping[str, object] = value

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def get(self, name: str) -> object:
        """The raw field; it must be there."""
        if name not in self._value:
            raise ProtocolError(self._at(name), "is missing")
        return self._value[name]

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._value.get(name) is not None

    def no_others(self, known: tuple[str, ...]) -> None:
        """Refuse fields that are not in ``known``."""
        for name in self._value:
            if name not in known:
                raise ProtocolError(self._at(name), f"is unknown; known are {', '.join(known)}")

    def text(self, name: str, one_of: tuple[str, ...] = ()) -> str:
        """A string that is not empty, if wanted one of a few."""
        value = self.get(name)
        if not isinstance(value, str) or not value:
            raise ProtocolError(self._at(name), f"must be a non-empty string, got {_say(value)}")
        if one_of and value not in one_of:
            raise ProtocolError(
                self._at(name), f"must be one of {', '.join(one_of)}, got {value!r}"
            )
        return value

    def text_or_empty(self, name: str) -> str:
        """A string, the empty one included."""
        value = self.get(name)
        if not isinstance(value, str):
            raise ProtocolError(self._at(name), f"must be a string, got {_say(value)}")
        return value

    def sha256(self, name: str) -> str:
        """A SHA-256 in 64 lower-case hexadecimal digits."""
        value = self.get(name)
        if not isinstance(value, str) or not SHA256.match(value):
            raise ProtocolError(self._at(name), f"must be 64 lower-case hex digits, got {value!r}")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.get(name)
        if not isinstance(value, bool):
            raise ProtocolError(self._at(name), f"must be true or false, got {_say(value)}")
        return value

    def integer(self, name: str, low: int = 0) -> int:
        """An integer of at least ``low``."""
        value = self.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ProtocolError(self._at(name), f"must be an integer, got {_say(value)}")
        if value < low:
            raise ProtocolError(self._at(name), f"must be at least {low}, got {value}")
        return value

    def number(
        self, name: str, low: float = 0.0, high: float = math.inf, above: bool = False
    ) -> float:
        """A finite number in [low, high]; ``above`` leaves ``low`` itself out."""
        value = self.get(name)
        return _number(value, self._at(name), low, high, above)

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """``read(name)``, or None where the field is absent or null."""
        return read(name) if self.has(name) else None

    def child(self, name: str) -> Fields:
        """A nested object."""
        return Fields(self.get(name), self._at(name))

    def each(self, name: str, read: Callable[[object, str], T]) -> tuple[T, ...]:
        """A list, every item read by ``read(item, its path)``."""
        value = self.get(name)
        if not isinstance(value, list):
            raise ProtocolError(self._at(name), f"must be a list, got {_say(value)}")
        return tuple(read(item, f"{self._at(name)}[{i}]") for i, item in enumerate(value))

    def mapping(self, name: str, read: Callable[[object, str], T]) -> dict[str, T]:
        """An object with free keys, every value read by ``read(value, its path)``."""
        value = self.get(name)
        if not isinstance(value, dict):
            raise ProtocolError(self._at(name), f"must be an object, got {_say(value)}")
        return {key: read(item, f"{self._at(name)}.{key}") for key, item in value.items()}


def text_item(value: object, path: str) -> str:
    """A list's item that is a non-empty string."""
    if not isinstance(value, str) or not value:
        raise ProtocolError(path, f"must be a non-empty string, got {_say(value)}")
    return value


def count_item(value: object, path: str) -> int:
    """A list's item that is an integer of at least 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ProtocolError(path, f"must be an integer of at least 0, got {_say(value)}")
    return value


def number_item(value: object, path: str) -> float:
    """A list's item that is a finite number."""
    return _number(value, path, -math.inf, math.inf, False)


def plain(value: object) -> Any:
    """Dataclasses, tuples and mappings as what ``json.dumps`` takes.

    A dataclass's field metadata ``wire`` gives its name on the wire where that is no Python name.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.metadata.get("wire", field.name): plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@dataclasses.dataclass(frozen=True)
class Message:
    """What every message can do."""

    def to_json(self) -> Any:
        """Plain dicts and lists for ``json.dumps``."""
        return plain(self)


def _number(value: object, path: str, low: float, high: float, above: bool) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ProtocolError(path, f"must be a number, got {_say(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ProtocolError(path, f"must be finite, got {_say(value)}")
    if number < low or number > high or (above and number == low):
        wanted = f"{'above' if above else 'at least'} {low:g}"
        wanted += f" and at most {high:g}" if high != math.inf else ""
        raise ProtocolError(path, f"must be {wanted}, got {number:g}")
    return number


def _say(value: object) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
