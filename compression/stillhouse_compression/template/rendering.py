"""A tree and a config into plain data, and from every rendered place back to the template's.

Depends on: tree, parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stillhouse_compression.template.errors import Place
from stillhouse_compression.template.parameters import Config
from stillhouse_compression.template.safe_yaml import Plain, Value, dump
from stillhouse_compression.template.tree import (
    Block,
    Guard,
    Listing,
    Reference,
    Scalar,
    Slot,
    Switch,
    Tree,
)


@dataclass(frozen=True)
class Rendered:
    """What one config makes of a template: plain data, no tags.

    Attributes:
        schedule: A schedule as `CompressionScheduler` takes it.
        training: The study's training section.
        config: The config that was rendered, in the parameters' own types.
        notes: What the wanted dialect could not say; empty for our own.
        origins: Rendered YAML path -> place in the template.
    """

    schedule: Mapping[str, Any]
    training: Mapping[str, Any]
    config: Config
    notes: tuple[str, ...] = ()
    origins: Mapping[str, Place] = field(default_factory=dict, compare=False, repr=False)

    def with_schedule(self, schedule: Mapping[str, Any], notes: tuple[str, ...] = ()) -> Rendered:
        """Give the same with a schedule that was expanded or translated; origins are lost."""
        return replace(self, schedule=schedule, notes=notes, origins={})

    def schedule_yaml(self) -> str:
        """Write the schedule as YAML text that can be run by hand."""
        return dump(self.schedule)

    def training_yaml(self) -> str:
        """Write the training section as YAML text."""
        return dump(self.training)


class Absent(Exception):
    """The place is not in the schedule under this config."""


class Renderer:
    """Fills trees with one config's values."""

    def __init__(self, config: Config, targets: Mapping[str, Tree]) -> None:
        """Take the config (complete: every active parameter) and what references may name."""
        self._config = config
        self._targets = targets
        self.origins: dict[str, Place] = {}

    def fill(self, tree: Tree, path: str = "") -> Plain:
        """Render a tree.

        Args:
            tree: What to render.
            path: Its path in the rendered document.

        Raises:
            Absent: The tree as a whole is switched off.
        """
        resolved = resolve(tree, self._config)
        self.origins[path] = resolved.place
        match resolved:
            case Listing():
                items: list[Plain] = []
                for item in resolved.items:
                    try:
                        items.append(self.fill(item, f"{path}[{len(items)}]"))
                    except Absent:
                        continue
                return items
            case Block():
                entries: dict[str, Plain] = {}
                for key, value in resolved.entries:
                    try:
                        entries[key] = self.fill(value, f"{path}.{key}" if path else key)
                    except Absent:
                        continue
                return entries
            case _:
                return self.value(resolved)

    def value(self, tree: Tree) -> Value:
        """Give the value of a leaf.

        Raises:
            Absent: A parameter it needs is inactive.
        """
        match tree:
            case Scalar():
                return tree.value
            case Slot():
                if tree.parameter not in self._config:
                    raise Absent(tree.parameter)
                return self._config[tree.parameter]
            case Reference():
                value = self.value(self._targets[tree.target])
                if tree.scale == 1 and tree.offset == 0:
                    return value
                return scaled(value, tree.scale, tree.offset)
            case _:
                raise Absent(tree.place.path)


def resolve(tree: Tree, config: Config) -> Tree:
    """Follow switches and guards to what the config chooses.

    Raises:
        Absent: It chooses nothing.
    """
    while True:
        match tree:
            case Switch():
                body = dict(tree.options).get(str(config.get(tree.parameter)))
                if tree.parameter not in config or body is None:
                    raise Absent(tree.parameter)
                tree = body
            case Guard():
                if not all(condition.holds(config) for condition in tree.conditions):
                    raise Absent(tree.place.path)
                tree = tree.body
            case _:
                return tree


def scaled(value: Value, scale: float | int, offset: float | int) -> float | int:
    """Give ``scale * value + offset``; of a whole number a whole number, rounded down.

    Raises:
        ValueError: The value is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number: scale and offset need one")
    result = value * scale + offset
    return math.floor(result) if isinstance(value, int) else float(result)
