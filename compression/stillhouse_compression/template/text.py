"""A template written as YAML text again; what it says comes back, its comments do not.

Depends on: PyYAML, safe_yaml, tree, search_space.
"""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from stillhouse_compression.template.parameters import Condition, Parameter
from stillhouse_compression.template.safe_yaml import Value, compose, dump, serialize
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
)

_MAP, _SEQ, _STR = (f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str"))
Pair = tuple[yaml.Node, yaml.Node]


class TemplateText:
    """Writes trees over one search space."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    def write(self, tree: Block, with_forbid: bool) -> str:
        """Write a document.

        Args:
            tree: The schedule or the training section.
            with_forbid: Add the `forbid:` list; it stands in the schedule's text.
        """
        node = self._node(tree)
        if with_forbid and self._space.forbidden:
            clauses = [
                yaml.MappingNode(_MAP, [(_text(n), _values(v)) for n, v in clause.items()])
                for clause in self._space.forbidden
            ]
            node.value.append((_text("forbid"), yaml.SequenceNode(_SEQ, clauses)))
        return serialize(node)

    def _node(self, tree: Tree) -> yaml.Node:
        match tree:
            case Scalar():
                return _scalar(tree.value)
            case Listing():
                items = [self._node(item) for item in tree.items]
                is_short = all(isinstance(item, yaml.ScalarNode) for item in items)
                return yaml.SequenceNode(_SEQ, items, flow_style=is_short)
            case Block():
                return yaml.MappingNode(_MAP, self._pairs(tree), flow_style=False)
            case Slot():
                return self._slot(tree)
            case Switch():
                return self._optional(tree) if tree.is_optional else self._choice(tree)
            case Guard():
                if tree.is_implied:
                    return self._node(tree.body)
                return _tag_optional(self._node(tree.body), [(_text("when"), _when(tree))])
            case Reference():
                return _reference(tree)

    def _pairs(self, tree: Block) -> list[Pair]:
        return [(_text(key), self._node(value)) for key, value in tree.entries]

    def _slot(self, slot: Slot) -> yaml.Node:
        parameter = self._space.by_name[slot.parameter]
        pairs: list[Pair] = []
        if parameter.is_range:
            low, high = parameter.bounds()
            pairs += [(_text("low"), _scalar(low)), (_text("high"), _scalar(high))]
            if parameter.log:
                pairs.append((_text("log"), _scalar(True)))
            if parameter.step is not None:
                pairs.append((_text("step"), _scalar(parameter.step)))
        else:
            pairs.append((_text("choices"), _values(parameter.choices)))
        if parameter.prior is not None:
            center, width = parameter.prior
            told = [(_text("center"), _scalar(center)), (_text("width"), _scalar(width))]
            pairs.append((_text("prior"), yaml.MappingNode(_MAP, told, flow_style=True)))
        pairs += self._rest(parameter, slot.is_named)
        return yaml.MappingNode(f"!{parameter.kind}", pairs, flow_style=True)

    def _choice(self, switch: Switch) -> yaml.Node:
        parameter = self._space.by_name[switch.parameter]
        options: list[Pair] = [
            (_text(name), _scalar(None) if body is None else self._node(body))
            for name, body in switch.options
        ]
        pairs: list[Pair] = [(_text("choices"), yaml.MappingNode(_MAP, options, flow_style=False))]
        pairs += self._rest(parameter, switch.is_named)
        return yaml.MappingNode("!choice", pairs, flow_style=False)

    def _optional(self, switch: Switch) -> yaml.Node:
        parameter = self._space.by_name[switch.parameter]
        body = dict(switch.options)["on"]
        # Only a block has room for a name and a default; a value never came with them.
        is_block = isinstance(body, Block)
        pairs = self._rest(parameter, switch.is_named) if is_block else []
        if body is None:
            raise AssertionError("an optional block has a body")
        return _tag_optional(self._node(body), pairs)

    def _rest(self, parameter: Parameter, is_named: bool) -> list[Pair]:
        pairs: list[Pair] = [(_text("default"), _scalar(parameter.default))]
        if parameter.weights:
            weights = zip(parameter.choices, parameter.weights, strict=True)
            told = [(_scalar(choice), _scalar(weight)) for choice, weight in weights]
            pairs.append((_text("prior"), yaml.MappingNode(_MAP, told, flow_style=True)))
        if is_named:
            pairs.append((_text("name"), _text(parameter.name)))
        return pairs


def _tag_optional(node: yaml.Node, pairs: list[Pair]) -> yaml.Node:
    """Put `!optional` before a node, its arguments first."""
    node.tag = "!optional"
    if isinstance(node, yaml.MappingNode):
        node.value = pairs + node.value
    return node


def _when(guard: Guard) -> yaml.Node:
    conditions: Iterable[Condition] = guard.conditions
    return yaml.MappingNode(
        _MAP, [(_text(c.parent), _values(c.values)) for c in conditions], flow_style=True
    )


def _reference(reference: Reference) -> yaml.Node:
    pairs: list[Pair] = [(_text("name"), _text(reference.target))]
    if reference.scale != 1:
        pairs.append((_text("scale"), _scalar(reference.scale)))
    if reference.offset != 0:
        pairs.append((_text("offset"), _scalar(reference.offset)))
    return yaml.MappingNode("!ref", pairs, flow_style=True)


def _values(values: Iterable[Value]) -> yaml.Node:
    return yaml.SequenceNode(_SEQ, [_scalar(value) for value in values], flow_style=True)


def _text(text: str) -> yaml.Node:
    return yaml.ScalarNode(_STR, text)


def _scalar(value: Value) -> yaml.Node:
    node = compose(dump(value))
    if node is None:
        raise AssertionError("a value has a text")
    return node
