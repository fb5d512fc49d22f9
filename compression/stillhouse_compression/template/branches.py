"""What one place of a template needs of another: references their targets, policies instances.

Depends on: tree, search_space, rendering, errors.

A place is in the schedule where its conditions hold. A pair of places is tried over every
combination of the choices that decide about the two, and only those: exact, and small even where
the template is large.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from stillhouse_compression.errors import nearest
from stillhouse_compression.template.errors import Findings, Place
from stillhouse_compression.template.parameters import Condition, Config
from stillhouse_compression.template.reader import POLICY_KINDS, Target
from stillhouse_compression.template.rendering import Absent, Renderer, resolve
from stillhouse_compression.template.safe_yaml import Value
from stillhouse_compression.template.search_space import SearchSpace
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

MAX_NUMBER = 2.0**53
MAX_TRIED = 100_000  # combinations in all: a hostile template shall not hold a server up

Conditions = tuple[Condition, ...]


class BranchCheck:
    """Looks for absences in one template."""

    def __init__(
        self,
        space: SearchSpace,
        targets: Mapping[str, Target],
        broken: Collection[str],
        findings: Findings,
    ) -> None:
        """Take what was read; nothing is said about ``broken`` names, which were refused."""
        self._space = space
        self._targets = targets
        self._broken = broken
        self._findings = findings
        self._is_sound = True
        self._n_tried = 0

    def references(self, references: Iterable[tuple[Reference, Conditions]]) -> None:
        """Refuse references to unknown, circular, non-numeric or absent places."""
        for reference, conditions in references:
            target = self._targets.get(reference.target)
            if target is None and reference.target in self._broken:
                continue
            if target is None:
                self._unknown_target(reference)
                continue
            chain = self._chain(reference)
            if chain is None:
                self._findings.add(reference.place, f"!ref {reference.target} comes back to itself")
                self._is_sound = False
                continue
            if (reference.scale, reference.offset) != (1, 0) and not self._is_number(chain):
                self._findings.add(
                    reference.place, f"{reference.target} is no number: scale and offset need one"
                )
            if self._magnitude(reference) > MAX_NUMBER:
                self._findings.add(reference.place, "the value grows beyond 2**53; scale it less")
                self._is_sound = False
            config = self._counterexample(conditions, target.conditions)
            if config is not None:
                self._findings.add(
                    reference.place,
                    f"{reference.target} is not there when {shown(config)}, but this is",
                )

    def _unknown_target(self, reference: Reference) -> None:
        name = reference.target
        if name in self._space.by_name:
            message = f"{name} chooses a block; a reference needs a value"
        else:
            named = [n for n, t in self._targets.items() if not isinstance(t.tree, Reference)]
            message = (
                "a reference names a parameter or the path of a plain value, "
                f"nothing is named {name!r}{nearest(name, named)}"
            )
        self._findings.add(reference.place, message)
        self._is_sound = False

    def _chain(self, reference: Reference) -> Tree | None:
        """Follow references to a value; None where they run in a circle or into nothing."""
        seen: set[int] = set()
        tree: Tree = reference
        while isinstance(tree, Reference):
            if id(tree) in seen:
                return None
            seen.add(id(tree))
            target = self._targets.get(tree.target)
            if target is None:
                return Scalar(0, tree.place)  # told at that reference
            tree = target.tree
        return tree

    def _values(self, tree: Tree) -> tuple[Value, ...]:
        """Give what a leaf may be: its value, a range's ends, or choices."""
        if isinstance(tree, Scalar):
            return (tree.value,)
        if isinstance(tree, Slot) and tree.parameter in self._space.by_name:
            parameter = self._space.by_name[tree.parameter]
            return parameter.ends() if parameter.is_range else parameter.choices
        return ()

    def _is_number(self, tree: Tree) -> bool:
        return all(
            isinstance(value, int | float) and not isinstance(value, bool)
            for value in self._values(tree)
        )

    def _magnitude(self, reference: Reference) -> float:
        """Bound what a reference that leads to a value can come out as; text counts as 0."""
        steps: list[Reference] = []
        tree: Tree = reference
        while isinstance(tree, Reference):
            steps.append(tree)
            target = self._targets.get(tree.target)
            if target is None:
                return 0.0
            tree = target.tree
        numbers = [abs(v) for v in self._values(tree) if isinstance(v, int | float)]
        if all(step.scale == 1 and step.offset == 0 for step in steps) or not numbers:
            return 0.0  # handed on as it is
        # Compared before it is multiplied: whole numbers of YAML have no bound.
        largest = float(min(max(numbers), 10**300))
        for step in reversed(steps):
            largest = abs(step.scale) * largest + abs(step.offset)
        return largest

    def _counterexample(self, given: Conditions, needed: Conditions) -> Config | None:
        """Find choices under which ``given`` hold and ``needed`` do not."""
        if set(needed) <= set(given):
            return None
        for config in self._combinations({c.parent for c in given + needed}):
            if all(c.holds(config) for c in given) and not all(c.holds(config) for c in needed):
                return config
        return None

    def instances(self, root: Block) -> None:
        """Refuse policies whose instance is unknown, or absent where they are present."""
        policies = root.get("policies")
        if policies is None:
            return
        for block, conditions in _located(policies, ()):
            for kind in POLICY_KINDS:
                body = block.get(kind)
                if body is not None:
                    self._check_instance(root, f"{kind}s", kind, body, conditions)
                    break

    def _check_instance(
        self, root: Block, section: str, kind: str, body: Tree, conditions: Conditions
    ) -> None:
        table = root.get(section)
        names = {c.parent for c in conditions} | self._deciding(walk(body))
        if table is not None:
            names |= self._deciding(_wrappers(table))
            possible = self._possible_names(body)
            for key, entry in _entries(table):
                if possible is None or key in possible:
                    names |= self._deciding(_wrappers(entry))
        for config in self._combinations(names):
            if not all(condition.holds(config) for condition in conditions):
                continue
            name, place = self._instance_name(body, config)
            if name is None or place is None or place.place.path in self._broken:
                continue
            present = [] if table is None else _present(table, config)
            if name not in present:
                when = f" when {shown(config)}" if config and _has(table, name) else ""
                hint = "" if _has(table, name) else nearest(name, _keys(table))
                self._findings.add(
                    place.place, f"there is no {kind} {name!r} in {section}{when}{hint}"
                )
                return

    def _possible_names(self, body: Tree) -> set[str] | None:
        """Give every instance that a policy may name; None where only rendering tells."""
        names: set[str] = set()
        for block in _blocks(body):
            named = block.get("instance_name")
            if isinstance(named, Scalar):
                names.add(str(named.value))
            elif isinstance(named, Slot) and named.parameter in self._space.by_name:
                names |= {str(value) for value in self._space.by_name[named.parameter].choices}
            else:
                return None
        return names

    def _instance_name(self, body: Tree, config: Config) -> tuple[str | None, Tree | None]:
        """Give the instance that a policy names under a config, and where it does."""
        trees = {name: target.tree for name, target in self._targets.items()}
        try:
            block = resolve(body, config)
            named = block.get("instance_name") if isinstance(block, Block) else None
            if named is None or not self._are_sound([named]):
                return None, None
            return str(Renderer(config, trees).fill(named)), named
        except Absent:
            return None, None

    def _are_sound(self, trees: Iterable[Tree]) -> bool:
        """Tell whether references among some trees, if any, lead to values."""
        return self._is_sound or not any(
            isinstance(tree, Reference) for top in trees for tree in walk(top)
        )

    def _combinations(self, names: Collection[str]) -> Iterator[Config]:
        """Give the combinations of some choices, while the whole check has not tried too many."""
        for config in self._space.combinations(names):
            self._n_tried += 1
            if self._n_tried > MAX_TRIED:
                return
            yield config

    def _deciding(self, trees: Iterable[Tree]) -> set[str]:
        """Give the choices among and behind some trees."""
        names: set[str] = set()
        for tree in trees:
            if isinstance(tree, Switch | Slot):
                names.add(tree.parameter)
            elif isinstance(tree, Guard):
                names |= {condition.parent for condition in tree.conditions}
            elif isinstance(tree, Reference):
                end = self._chain(tree)
                if isinstance(end, Slot):
                    names.add(end.parameter)
        return {n for n in names if n in self._space.by_name}


def shown(config: Config) -> str:
    """Word a few choices for a message."""
    return ", ".join(f"{name} = {value}" for name, value in config.items())


def _located(tree: Tree, conditions: Conditions) -> Iterator[tuple[Block, Conditions]]:
    """Give the items of a list as blocks, each with what must hold for it to be there."""
    match tree:
        case Listing():
            for item in tree.items:
                yield from _located(item, conditions)
        case Block():
            yield tree, conditions
        case Switch():
            for option, body in tree.options:
                if body is not None:
                    added = Condition(tree.parameter, (option,))
                    yield from _located(body, (*conditions, added))
        case Guard():
            yield from _located(tree.body, conditions + tree.conditions)


def _wrappers(tree: Tree) -> Iterator[Tree]:
    """Give the switches and guards around blocks, without what is in the blocks."""
    match tree:
        case Switch():
            yield tree
            for _, body in tree.options:
                if body is not None:
                    yield from _wrappers(body)
        case Guard():
            yield tree
            yield from _wrappers(tree.body)


def _blocks(tree: Tree) -> Iterator[Block]:
    """Give the blocks that a tree may come out as."""
    for block, _ in _located(tree, ()):
        yield block


def _entries(table: Tree) -> Iterator[tuple[str, Tree]]:
    for block in _blocks(table):
        yield from block.entries


def _keys(table: Tree | None) -> list[str]:
    return [] if table is None else [key for block in _blocks(table) for key, _ in block.entries]


def _has(table: Tree | None, name: str) -> bool:
    return name in _keys(table)


def _present(table: Tree, config: Config) -> list[str]:
    """Give the instances of a section that are there under a config."""
    names: list[str] = []
    try:
        block = resolve(table, config)
    except Absent:
        return names
    for key, entry in block.entries if isinstance(block, Block) else ():
        try:
            resolve(entry, config)
        except Absent:
            continue
        names.append(key)
    return names


def implied_conditions(root: Block, places: Mapping[str, Place]) -> dict[str, Conditions]:
    """Find the instances that are of use only under conditions.

    Args:
        root: The schedule's tree.
        places: Where the parameters stand.

    Returns:
        Path of an instance -> the conditions of the one policy that uses it. An instance that
        several policies use, or whose own choices decide about its policy, is left out.
    """
    users: dict[str, list[Conditions]] = {}
    policies = root.get("policies")
    for block, conditions in () if policies is None else _located(policies, ()):
        for kind in POLICY_KINDS:
            body = block.get(kind)
            if body is None:
                continue
            named = body.get("instance_name") if isinstance(body, Block) else None
            if not isinstance(named, Scalar):
                return {}  # which instance it uses depends on a config
            users.setdefault(f"{kind}s.{named.value}", []).append(conditions)
            break
    return {
        path: uses[0]
        for path, uses in users.items()
        if len(uses) == 1
        and uses[0]
        and not any(
            f"{places[c.parent].path}.".startswith(f"{path}.")
            for c in uses[0]
            if c.parent in places
        )
    }
