"""The tree of a template: plain YAML with slots, switches, guards and references in it.

Depends on: safe_yaml, parameters (types only). Places do not count when trees are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from stillhouse_compression.template.errors import Place
from stillhouse_compression.template.parameters import Condition
from stillhouse_compression.template.safe_yaml import Value


@dataclass(frozen=True)
class Scalar:
    """A plain value."""

    value: Value
    place: Place = field(compare=False)


@dataclass(frozen=True)
class Listing:
    """A list."""

    items: tuple[Tree, ...]
    place: Place = field(compare=False)


@dataclass(frozen=True)
class Block:
    """A mapping, in order."""

    entries: tuple[tuple[str, Tree], ...]
    place: Place = field(compare=False)

    def get(self, key: str) -> Tree | None:
        """Give the value at ``key``, or None."""
        return dict(self.entries).get(key)


@dataclass(frozen=True)
class Slot:
    """A value that a parameter gives: ``!float !int !ordinal`` and ``!choice`` of scalars."""

    parameter: str
    is_named: bool  # by `name:`, else by its path
    place: Place = field(compare=False)


@dataclass(frozen=True)
class Switch:
    """A block that a parameter chooses; None leaves the entry out. ``!optional`` is one, too."""

    parameter: str
    is_named: bool
    options: tuple[tuple[str, Tree | None], ...]
    is_optional: bool
    place: Place = field(compare=False)


@dataclass(frozen=True)
class Guard:
    """A block that is there only ``when`` other parameters have certain values.

    An instance whose one policy is conditional is guarded likewise, without being told so
    (``is_implied``): while the policy is off, the instance's parameters would do nothing.
    """

    conditions: tuple[Condition, ...]
    body: Tree
    is_implied: bool
    place: Place = field(compare=False)


@dataclass(frozen=True)
class Reference:
    """The value of another place, times ``scale``, plus ``offset``."""

    target: str
    scale: float | int
    offset: float | int
    place: Place = field(compare=False)


Tree: TypeAlias = Scalar | Listing | Block | Slot | Switch | Guard | Reference


def children(tree: Tree) -> tuple[Tree, ...]:
    """Give the trees directly below."""
    match tree:
        case Listing():
            return tree.items
        case Block():
            return tuple(value for _, value in tree.entries)
        case Switch():
            return tuple(body for _, body in tree.options if body is not None)
        case Guard():
            return (tree.body,)
        case _:
            return ()


def walk(tree: Tree) -> Iterator[Tree]:
    """Give the tree and every tree below it, in the text's order."""
    yield tree
    for child in children(tree):
        yield from walk(child)
