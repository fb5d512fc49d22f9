"""YAML nodes into the tree of a template and its parameters.

Depends on: PyYAML, tags, yaml_mapping, tree, parameters, errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import yaml

from stillhouse_compression.errors import nearest
from stillhouse_compression.template.errors import Findings, Place
from stillhouse_compression.template.parameters import Condition, Parameter
from stillhouse_compression.template.safe_yaml import MAX_DEPTH, MAX_NODES, Value
from stillhouse_compression.template.tags import (
    CHOICE_ARGUMENTS,
    MAX_NAME,
    SEARCH_TAGS,
    TagReader,
)
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
from stillhouse_compression.template.yaml_mapping import Entries, place_of

POLICY_KINDS = ("pruner", "regularizer", "quantizer", "lr_scheduler", "extension")
MAX_PARAMETERS = 300

_MAP, _SEQ = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_SCALARS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null")}


@dataclass(frozen=True)
class Spot:
    """Where reading has come to.

    Attributes:
        path: YAML path, list items by index.
        name: The same for people: a policy by its instance where that is unique.
        conditions: What must hold for this place to be in the schedule.
        depth: Levels below the root.
    """

    path: str
    name: str
    conditions: tuple[Condition, ...] = ()
    depth: int = 0

    def key(self, key: str) -> Spot:
        """Go to a mapping's entry."""
        return Spot(_join(self.path, key), _join(self.name, key), self.conditions, self.depth + 1)

    def item(self, index: int, label: str | None) -> Spot:
        """Go to a list's item."""
        name = f"{self.name}[{index}]" if label is None else _join(self.name, label)
        return Spot(f"{self.path}[{index}]", name, self.conditions, self.depth + 1)

    def given(self, *conditions: Condition) -> Spot:
        """Stay, under further conditions."""
        return replace(self, conditions=self.conditions + conditions, depth=self.depth + 1)


@dataclass(frozen=True)
class Target:
    """What a reference may name, and when it is there."""

    tree: Tree
    conditions: tuple[Condition, ...]


class TemplateReader:
    """Reads one template (and its training section) into trees.

    Attributes:
        findings: Takes the problems.
        parameters: By name, in the text's order; conditions as they stand in the text.
        places: Where each parameter stands.
        targets: What references may name: paths of plain values and names of parameters.
        references: Every reference with its conditions.
        broken: Names of places that were refused: what refers to them is not refused again.
    """

    def __init__(
        self,
        findings: Findings,
        known: Mapping[str, Parameter],
        implied: Mapping[str, tuple[Condition, ...]],
    ) -> None:
        """Start reading.

        Args:
            findings: Takes the problems.
            known: The parameters, as an earlier reading found them: `when` may look ahead.
            implied: Conditions of places that the text leaves unsaid, by path.
        """
        self.findings = findings
        self._known = known
        self._implied = implied
        self._tags = TagReader(findings)
        self._n_nodes = 0
        self.broken: set[str] = set()
        self.parameters: dict[str, Parameter] = {}
        self.places: dict[str, Place] = {}
        self.targets: dict[str, Target] = {}
        self.references: list[tuple[Reference, tuple[Condition, ...]]] = []

    def entries(self, node: yaml.MappingNode, path: str) -> Entries:
        """Read a mapping node's entries."""
        return self._tags.mappings.entries(node, path)

    def member(self, parameter: Parameter, node: yaml.Node, path: str) -> Value:
        """Read one value of a parameter."""
        return self._tags.member(parameter, node, path)

    def read(self, node: yaml.Node, spot: Spot) -> Tree | None:
        """Read a node and all below; None, with the problems noted, where it cannot be."""
        self._n_nodes += 1
        place = place_of(node, spot.path)
        if spot.depth > MAX_DEPTH:
            self.findings.add(place, f"nested deeper than {MAX_DEPTH} levels")
            return None
        if self._n_nodes > MAX_NODES:
            self.findings.add(
                Place("", place.line, place.column),
                f"more than {MAX_NODES} nodes once aliases are written out",
            )
            return None
        if spot.path in self._implied:
            conditions = self._implied[spot.path]
            body = self._read(node, spot.given(*conditions), place)
            return Guard(conditions, body, True, place)
        return self._read(node, spot, place)

    def _read(self, node: yaml.Node, spot: Spot, place: Place) -> Tree:
        """Read a node by its tag; a blank value where it cannot be read."""
        tree: Tree | None = None
        if node.tag in SEARCH_TAGS:
            tree = self._tagged(node, spot, place)
        elif node.tag == _MAP and isinstance(node, yaml.MappingNode):
            tree = self._block(self.entries(node, spot.path), spot, place)
        elif node.tag == _SEQ and isinstance(node, yaml.SequenceNode):
            tree = self._listing(node, spot, place)
        elif node.tag in _SCALARS and isinstance(node, yaml.ScalarNode):
            tree = Scalar(self._tags.value(node, spot.path), place)
        else:
            shown = node.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            self.findings.add(
                place,
                f"tag {shown} is not read, search tags are {' '.join(SEARCH_TAGS)}"
                f"{nearest(node.tag, SEARCH_TAGS)}",
            )
        if tree is None:
            return self._blank(node, spot, place)
        if isinstance(tree, Scalar | Slot | Reference):
            target = Target(tree, spot.conditions)
            self.targets.setdefault(spot.path, target)
            self.targets.setdefault(spot.name, target)
        return tree

    def _blank(self, node: yaml.Node, spot: Spot, place: Place) -> Scalar:
        """Stand in for what was refused, under every name it would have had."""
        self.broken |= {spot.path, spot.name}
        if isinstance(node, yaml.MappingNode):
            for key, (_, value) in self.entries(node, spot.path).items():
                if key == "name" and isinstance(value, yaml.ScalarNode):
                    self.broken.add(value.value)
        return Scalar(0, place)

    def block(self, entries: Entries, spot: Spot, node: yaml.Node) -> Block:
        """Read a mapping whose entries were read already."""
        return self._block(entries, spot, place_of(node, spot.path))

    def _block(self, entries: Entries, spot: Spot, place: Place) -> Block:
        trees = ((key, self.read(value, spot.key(key))) for key, (_, value) in entries.items())
        return Block(tuple((key, tree) for key, tree in trees if tree is not None), place)

    def _listing(self, node: yaml.SequenceNode, spot: Spot, place: Place) -> Listing:
        labels: list[str | None] = [None] * len(node.value)
        if spot.path == "policies":
            labels = [self._instance_of(item) for item in node.value]
            labels = [label if labels.count(label) == 1 else None for label in labels]
        trees = (
            self.read(item, spot.item(index, label))
            for index, (item, label) in enumerate(zip(node.value, labels, strict=True))
        )
        return Listing(tuple(tree for tree in trees if tree is not None), place)

    def _instance_of(self, node: yaml.Node) -> str | None:
        """Give the instance name of a policy's node; None where it is not plain text."""
        if not isinstance(node, yaml.MappingNode):
            return None
        for key, value in node.value:
            if key.value in POLICY_KINDS and isinstance(value, yaml.MappingNode):
                for inner_key, inner in value.value:
                    if inner_key.value == "instance_name" and inner.tag in _SCALARS:
                        return str(inner.value)
        return None

    def _tagged(self, node: yaml.Node, spot: Spot, place: Place) -> Tree | None:
        match node.tag:
            case "!float" | "!int":
                kind: str = node.tag[1:]
                found = self._tags.range("float" if kind == "float" else "int", node, spot.path)
                return self._slot(found, spot, place)
            case "!ordinal":
                return self._slot(self._tags.choice("ordinal", node, spot.path), spot, place)
            case "!choice":
                return self._choice(node, spot, place)
            case "!optional":
                return self._optional(node, spot, place)
            case _:
                told = self._tags.reference(node, spot.path)
                if told is None:
                    return None
                reference = Reference(*told, place)
                self.references.append((reference, spot.conditions))
                return reference

    def _slot(self, parameter: Parameter | None, spot: Spot, place: Place) -> Slot | None:
        if parameter is None:
            return None
        name = self._register(parameter, spot, place)
        slot = Slot(name, bool(parameter.name), place)
        self.targets.setdefault(name, Target(slot, spot.conditions))
        return slot

    def _choice(self, node: yaml.Node, spot: Spot, place: Place) -> Tree | None:
        """Read a choice of scalars or of named blocks."""
        if not isinstance(node, yaml.MappingNode):
            return self._slot(self._tags.choice("choice", node, spot.path), spot, place)
        entries = self.entries(node, spot.path)
        if "choices" in entries:
            if not isinstance(entries["choices"][1], yaml.MappingNode):
                return self._slot(self._tags.choice("choice", node, spot.path), spot, place)
            self._tags.mappings.arguments(
                node, CHOICE_ARGUMENTS, "!choice with 'choices'", spot.path
            )
            options = self.entries(entries["choices"][1], spot.path)
        else:
            options = {k: v for k, v in entries.items() if k not in CHOICE_ARGUMENTS}
        self._tags.check_count(len(options), spot.path, node, "!choice")
        if len(options) < 2:
            return None
        parameter = Parameter(
            self._tags.name(entries, spot.path) or "",
            "choice",
            next(iter(options)),
            choices=tuple(options),
        )
        parameter = self._tags.told(parameter, entries, spot.path)
        name = self._register(parameter, spot, place)
        bodies: list[tuple[str, Tree | None]] = []
        for option, (_, value) in options.items():
            inner = spot.key(option).given(Condition(name, (option,)))
            is_empty = value.tag == "tag:yaml.org,2002:null"
            bodies.append((option, None if is_empty else self.read(value, inner)))
        return Switch(name, bool(parameter.name), tuple(bodies), False, place)

    def _optional(self, node: yaml.Node, spot: Spot, place: Place) -> Tree | None:
        """Read a block that is on or off, by a parameter of its own or `when` others say so."""
        arguments: Entries = {}
        body_entries: Entries = {}
        if isinstance(node, yaml.MappingNode):
            for key, entry in self.entries(node, spot.path).items():
                is_argument = key in ("name", "default", "prior", "when")
                (arguments if is_argument else body_entries)[key] = entry
        if "when" in arguments:
            return self._guarded(arguments, body_entries, spot, node)
        parameter = Parameter(
            self._tags.name(arguments, spot.path) or "", "choice", "on", choices=("off", "on")
        )
        parameter = self._tags.told(parameter, arguments, spot.path)
        name = self._register(parameter, spot, place)
        body = self._body(node, body_entries, spot.given(Condition(name, ("on",))), place)
        return Switch(name, bool(parameter.name), (("off", None), ("on", body)), True, place)

    def _guarded(
        self, arguments: Entries, body_entries: Entries, spot: Spot, node: yaml.Node
    ) -> Tree | None:
        for key in ("name", "default", "prior"):
            if key in arguments:
                self.findings.add(
                    place_of(arguments[key][0], f"{spot.path}.{key}"),
                    f"{key!r} does not go with 'when': such a block has no parameter of its own",
                )
        when = arguments["when"][1]
        place = place_of(when, f"{spot.path}.when")
        if not isinstance(when, yaml.MappingNode) or when.tag != _MAP:
            self.findings.add(place, "'when' maps names of parameters to a value or a list of them")
            return None
        conditions: list[Condition] = []
        for name, (key_node, value) in self.entries(when, place.path).items():
            parent = self._known.get(name)
            values = value.value if isinstance(value, yaml.SequenceNode) else [value]
            if name in self.broken:
                continue
            if parent is None or parent.is_range:
                choices = [p.name for p in self._known.values() if not p.is_range]
                self.findings.add(
                    place_of(key_node, f"{place.path}.{name}"),
                    f"'when' needs the name of a choice, {name!r} is none{nearest(name, choices)}",
                )
                continue
            path = f"{place.path}.{name}"
            conditions.append(
                Condition(name, tuple(self._tags.member(parent, item, path) for item in values))
            )
        body = self._body(node, body_entries, spot.given(*conditions), place_of(node, spot.path))
        if body is None:
            return None
        return Guard(tuple(conditions), body, False, place_of(node, spot.path))

    def _body(
        self, node: yaml.Node, body_entries: Entries, spot: Spot, place: Place
    ) -> Tree | None:
        """Read what `!optional` stands before."""
        if isinstance(node, yaml.MappingNode):
            if not body_entries:
                self.findings.add(place, "!optional needs a block or value behind it")
            return self._block(body_entries, spot, place)
        if isinstance(node, yaml.SequenceNode):
            return self._listing(node, spot, place)
        value = self._tags.value(node, spot.path, is_tagged=True)
        if value is None:
            self.findings.add(place, "!optional needs a block or value behind it")
        return Scalar(value, place)

    def _register(self, parameter: Parameter, spot: Spot, place: Place) -> str:
        """Enter a parameter under its own name or its path."""
        name = parameter.name or spot.name
        if len(name) > MAX_NAME:
            self.findings.add(place, f"the path is longer than {MAX_NAME}; give it a 'name'")
        if name in self.parameters:
            first = self.places[name]
            self.findings.add(
                place,
                f"a second parameter named {name!r}, the first in line {first.line}: "
                f"give one another 'name', or write !ref {name} for the same value",
            )
            return name
        if len(self.parameters) >= MAX_PARAMETERS:
            self.findings.add(
                Place("", place.line, place.column),
                f"more than {MAX_PARAMETERS} parameters",
            )
            return name
        self.parameters[name] = replace(parameter, name=name, condition=spot.conditions)
        self.places[name] = place
        return name


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
