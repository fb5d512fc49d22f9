"""The parameters together: which are active, which configs are allowed, how to make some.

Depends on: parameters, errors. Knows nothing of templates.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random
from typing import Any, TypeAlias

from stillhouse_compression.errors import Problem, nearest
from stillhouse_compression.template.parameters import Condition, Config, Parameter
from stillhouse_compression.template.safe_yaml import Value

Clause: TypeAlias = Mapping[str, tuple[Value, ...]]

MAX_COMBINATIONS = 4096
MAX_CORNERS = 1000
MAX_REDRAWS = 1000


def _default(parameter: Parameter) -> Value:
    return parameter.default


def _low(parameter: Parameter) -> Value:
    return parameter.ends()[0] if parameter.is_range else parameter.default


def _high(parameter: Parameter) -> Value:
    return parameter.ends()[1] if parameter.is_range else parameter.default


_LOW_HIGH = (_low, _high)


@dataclass(frozen=True)
class SearchSpace:
    """Parameters with closed conditions (a child's hold its parent's) and what is forbidden."""

    parameters: tuple[Parameter, ...]
    forbidden: tuple[Clause, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Parameter]:
        """The parameters by name."""
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def parents_first(self) -> tuple[Parameter, ...]:
        """The parameters in an order in which each comes after all it depends on."""
        # Closed conditions: a child has its parent's and one more.
        return tuple(sorted(self.parameters, key=lambda parameter: len(parameter.condition)))

    def complete(self, choose: Callable[[Parameter], Value], given: Config) -> dict[str, Value]:
        """Give ``given`` where active, and ``choose``'s value for every other active parameter."""
        config: dict[str, Value] = {}
        for parameter in self.parents_first:
            if all(condition.holds(config) for condition in parameter.condition):
                name = parameter.name
                config[name] = given[name] if name in given else choose(parameter)
        return {p.name: config[p.name] for p in self.parameters if p.name in config}

    def default_config(self) -> dict[str, Value]:
        """Give every active parameter's default."""
        return self.complete(_default, {})

    def is_forbidden(self, config: Config) -> bool:
        """Tell whether a clause has all its parameters active and among its values."""
        return any(self._matches(clause, config) for clause in self.forbidden)

    def _matches(self, clause: Clause, config: Config) -> bool:
        return all(Condition(name, values).holds(config) for name, values in clause.items())

    def sample(self, rng: Random) -> dict[str, Value]:
        """Draw an allowed config.

        Raises:
            RuntimeError: ``MAX_REDRAWS`` draws in a row were forbidden.
        """
        for _ in range(MAX_REDRAWS):
            config = self.complete(lambda parameter: parameter.sample(rng), {})
            if not self.is_forbidden(config):
                return config
        raise RuntimeError(f"{MAX_REDRAWS} configs in a row were forbidden; forbid less")

    def extremes(self) -> list[dict[str, Value]]:
        """Give configs that show every corner worth a dry run, the default first, at most 1000.

        Default, all low and all high; then every value of every choice, its parents set so that
        it is active, with the other parameters at their defaults, low and high. None is
        forbidden and none comes twice.
        """
        return list(itertools.islice(self._corners(), MAX_CORNERS))

    def _corners(self) -> Iterator[dict[str, Value]]:
        fillers = (_default, *_LOW_HIGH)
        givens: list[dict[str, Value]] = [{}]
        for parameter in self.parameters:
            if not parameter.is_range:
                reached = {c.parent: c.values[0] for c in parameter.condition}
                givens.extend({**reached, parameter.name: value} for value in parameter.choices)
        found: set[tuple[tuple[str, Value], ...]] = set()
        for given, filler in itertools.product(givens, fillers):
            config = self.complete(filler, given)
            key = tuple(config.items())
            if key not in found and not self.is_forbidden(config):
                found.add(key)
                yield config

    def opposed(self) -> Iterator[dict[str, Value]]:
        """Give configs in which one range stands at one end and all others at the other.

        They show what two ranges do to one another, which all low and all high cannot.
        """
        for parameter in self.parameters:
            if not parameter.is_range:
                continue
            reached = {c.parent: c.values[0] for c in parameter.condition}
            for own, other in ((0, 1), (1, 0)):
                given = {**reached, parameter.name: parameter.ends()[own]}
                config = self.complete(_LOW_HIGH[other], given)
                if not self.is_forbidden(config):
                    yield config

    def combinations(self, names: Collection[str]) -> Iterator[dict[str, Value]]:
        """Give the joint values of some choices and all they depend on, at most 4096.

        Combinations that a clause over these parameters alone forbids are left out.
        """
        needed = set(names)
        for name in names:
            needed |= {condition.parent for condition in self.by_name[name].condition}
        ordered = [p for p in self.parents_first if p.name in needed and not p.is_range]

        def extend(config: dict[str, Value], rest: list[Parameter]) -> Iterator[dict[str, Value]]:
            if not rest:
                yield config
                return
            first, *others = rest
            if not all(condition.holds(config) for condition in first.condition):
                yield from extend(config, others)
                return
            for value in first.choices:
                yield from extend({**config, first.name: value}, others)

        allowed = (c for c in extend({}, ordered) if not self.is_forbidden(c))
        return itertools.islice(allowed, MAX_COMBINATIONS)

    def admit(self, config: Mapping[str, Any]) -> tuple[dict[str, Value], list[Problem]]:
        """Check a config from outside.

        Returns:
            The config in the parameters' own types and order, and what is wrong with it.
        """
        problems: list[Problem] = []
        taken: dict[str, Value] = {}
        undecided: set[str] = set()  # nothing is said about what depends on a wrong value
        for parameter in self.parents_first:
            name = parameter.name
            if any(condition.parent in undecided for condition in parameter.condition):
                undecided.add(name)
            elif not all(condition.holds(taken) for condition in parameter.condition):
                if name in config:
                    why = next(c for c in parameter.condition if not c.holds(taken))
                    wanted = ", ".join(str(value) for value in why.values)
                    problems.append(
                        Problem(name, f"is inactive here: it needs {why.parent} = {wanted}")
                    )
            elif name not in config:
                problems.append(Problem(name, "is active and needs a value"))
                undecided.add(name)
            else:
                try:
                    taken[name] = parameter.admit(config[name])
                except ValueError as error:
                    problems.append(Problem(name, str(error)))
                    undecided.add(name)
        problems.extend(
            Problem(str(name), f"no such parameter{nearest(name, self.by_name)}")
            for name in config
            if name not in self.by_name
        )
        if not problems and self.is_forbidden(taken):
            index = next(
                i for i, clause in enumerate(self.forbidden) if self._matches(clause, taken)
            )
            problems.append(Problem(f"forbid[{index}]", "forbids this combination"))
        return {p.name: taken[p.name] for p in self.parameters if p.name in taken}, problems


def closed(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Give the parameters with their parents' conditions added, each parent once.

    A parameter that decides about itself keeps itself among its parents; one whose conditions
    exclude one another has a condition without values. Both are for the caller to refuse.
    """
    done: dict[str, Parameter] = {}
    for name, parameter in parameters.items():
        allowed: dict[str, tuple[Value, ...]] = {}
        waiting = list(parameter.condition)
        seen: set[Condition] = set()
        while waiting:
            condition = waiting.pop(0)
            parent = parameters.get(condition.parent)
            if condition in seen or parent is None:
                continue
            seen.add(condition)
            before = allowed.get(condition.parent, parent.choices)
            allowed[condition.parent] = tuple(v for v in before if v in condition.values)
            waiting.extend(parent.condition)
        conditions = tuple(Condition(parent, values) for parent, values in allowed.items())
        done[name] = replace(parameter, condition=conditions)
    return done
