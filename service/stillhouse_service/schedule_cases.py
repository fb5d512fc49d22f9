"""What a template's pruners do under any config: read off its tree once, evaluated on columns.

Depends on: stillhouse_compression.template, numpy.

A pruner's class, group and weights may hang on choices; each way they can stand is a case with its
conditions. What is left free in a case is one number, the sparsity.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillhouse_compression.template.rendering import scaled
from stillhouse_compression.template.safe_yaml import Value
from stillhouse_compression.template.template import Template
from stillhouse_compression.template.tree import (
    Block,
    Guard,
    Listing,
    Reference,
    Scalar,
    Slot,
    Switch,
    Tree,
    walk,
)

Columns = Mapping[str, NDArray[Any]]
Conditions = tuple[tuple[str, tuple[Value, ...]], ...]
_FIELDS = ("class", "group_type", "group_dependency", "group_size", "rounding_fn", "weights")
_SPARSITIES = ("final_sparsity", "desired_sparsity")


@dataclass(frozen=True)
class Level:
    """A number of the schedule: ``scale * parameter + offset``, or ``offset`` alone."""

    parameter: str | None
    scale: float
    offset: float
    is_whole: bool = False

    def of(self, columns: Columns, n: int) -> NDArray[np.float64]:
        """The number in each of n configs; NaN where its parameter is inactive."""
        if self.parameter is None:
            return np.full(n, self.offset)
        value = np.asarray(columns[self.parameter], dtype=float) * self.scale + self.offset
        return np.floor(value) if self.is_whole else value


@dataclass(frozen=True)
class Case:
    """One way a pruner can stand in the schedule.

    Attributes:
        conditions: All must hold.
        fields: Its plain settings of ``_FIELDS``; what the template leaves out is missing.
        level: Its sparsity in the end.
    """

    conditions: Conditions
    fields: Mapping[str, Any]
    level: Level


class ScheduleCases:
    """A template's pruners, case by case.

    Attributes:
        pruners: Instance name -> its cases; those without a sparsity are left out.
        single_use: Range parameters that are a pruner's sparsity and nothing else.
    """

    def __init__(self, template: Template) -> None:
        self._targets = template.targets
        self._parameters = template.space.by_name
        self._level_uses: set[int] = set()
        schedule = dict(template.schedule.entries)
        pruners = schedule.get("pruners")
        self.pruners: dict[str, list[Case]] = {}
        if isinstance(pruners, Block):
            for name, tree in pruners.entries:
                self.pruners[name] = list(self._cases(tree))
        self._policies = list(self._policies_of(schedule.get("policies")))
        others = {
            parameter
            for leaf in _leaves(template.schedule)
            if id(leaf) not in self._level_uses and (parameter := self._parameter_of(leaf))
        }
        levels = {case.level.parameter for cases in self.pruners.values() for case in cases}
        self.single_use = {name for name in levels if name is not None} - others

    def is_so(self, conditions: Conditions, columns: Columns, n: int) -> NDArray[np.bool_]:
        """In which of n configs all conditions hold."""
        holds = np.ones(n, dtype=bool)
        for name, values in conditions:
            choices = self._parameters[name].choices
            wanted = [i for i, choice in enumerate(choices) if _is_any(choice, values)]
            holds &= np.isin(columns[name], wanted)
        return holds

    def is_run(self, pruner: str, columns: Columns, n: int) -> NDArray[np.bool_]:
        """In which of n configs some policy runs a pruner."""
        runs = np.zeros(n, dtype=bool)
        for name, conditions in self._policies:
            if name == pruner:
                runs |= self.is_so(conditions, columns, n)
        return runs

    def _cases(self, tree: Tree) -> Iterator[Case]:
        for conditions, body in self._unfold(tree):
            if not isinstance(body, Block):
                continue
            entries = dict(body.entries)
            key = next((key for key in _SPARSITIES if key in entries), None)
            if key is None:
                continue
            given = [name for name in _FIELDS if name in entries]
            options = [list(self._plain(entries[name])) for name in given]
            for chosen in itertools.product(*options, list(self._levels(entries[key]))):
                *plain, (at, level) = chosen
                every = (*conditions, *at, *(c for found, _ in plain for c in found))
                fields = {name: value for name, (_, value) in zip(given, plain, strict=True)}
                yield Case(every, fields, level)

    def _policies_of(self, tree: Tree | None) -> Iterator[tuple[str, Conditions]]:
        for item in tree.items if isinstance(tree, Listing) else ():
            for conditions, body in self._unfold(item):
                named = body.get("pruner") if isinstance(body, Block) else None
                for more, block in self._unfold(named) if named is not None else ():
                    instance = block.get("instance_name") if isinstance(block, Block) else None
                    if isinstance(instance, Scalar):
                        yield str(instance.value), (*conditions, *more)

    def _unfold(self, tree: Tree) -> Iterator[tuple[Conditions, Tree]]:
        """What a tree can be, with the conditions of each."""
        match tree:
            case Switch():
                choices = self._parameters[tree.parameter].choices
                for name, body in tree.options:
                    chosen = tuple(choice for choice in choices if str(choice) == name)
                    if body is not None:
                        for conditions, found in self._unfold(body):
                            yield ((tree.parameter, chosen), *conditions), found
            case Guard():
                guarded = tuple((c.parent, tuple(c.values)) for c in tree.conditions)
                for conditions, found in self._unfold(tree.body):
                    yield (*guarded, *conditions), found
            case _:
                yield (), tree

    def _plain(self, tree: Tree) -> Iterator[tuple[Conditions, Any]]:
        """What a setting can be; a setting that a range gives is None: not known before."""
        for conditions, leaf in self._unfold(tree):
            match leaf:
                case Scalar():
                    yield conditions, leaf.value
                case Listing():
                    items = [list(self._plain(item)) for item in leaf.items]
                    for chosen in itertools.product(*items):
                        more = tuple(c for found, _ in chosen for c in found)
                        yield (*conditions, *more), [value for _, value in chosen]
                case Slot() if not self._parameters[leaf.parameter].is_range:
                    for choice in self._parameters[leaf.parameter].choices:
                        yield (*conditions, (leaf.parameter, (choice,))), choice
                case Reference() if leaf.scale == 1 and leaf.offset == 0:
                    for more, value in self._plain(self._targets[leaf.target]):
                        yield (*conditions, *more), value
                case _:
                    yield conditions, None

    def _levels(self, tree: Tree) -> Iterator[tuple[Conditions, Level]]:
        for conditions, leaf in self._unfold(tree):
            self._level_uses.add(id(leaf))
            match leaf:
                case Slot() if self._parameters[leaf.parameter].is_range:
                    is_whole = self._parameters[leaf.parameter].kind == "int"
                    yield conditions, Level(leaf.parameter, 1.0, 0.0, is_whole)
                case Reference():
                    for more, level in self._levels(self._targets[leaf.target]):
                        every = (*conditions, *more)
                        if level.parameter is None:
                            offset = float(scaled(level.offset, leaf.scale, leaf.offset))
                            yield every, Level(None, 0.0, offset)
                        else:
                            scale = level.scale * leaf.scale
                            offset = level.offset * leaf.scale + leaf.offset
                            yield every, Level(level.parameter, scale, offset, level.is_whole)
                case _:
                    for more, value in self._plain(leaf):
                        if isinstance(value, int | float):
                            yield (*conditions, *more), Level(None, 0.0, float(value))

    def _parameter_of(self, leaf: Tree) -> str | None:
        while isinstance(leaf, Reference):
            leaf = self._targets[leaf.target]
        return leaf.parameter if isinstance(leaf, Slot) else None


def _leaves(tree: Tree) -> Iterator[Tree]:
    return (leaf for leaf in walk(tree) if isinstance(leaf, Slot | Reference))


def _is_any(choice: Value, values: Sequence[Value]) -> bool:
    # True == 1 in Python; in a schedule they are different things.
    return any(choice == v and isinstance(choice, bool) == isinstance(v, bool) for v in values)
