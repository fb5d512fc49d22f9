"""YAML text -> plain mappings, lists and scalars; nothing in it is executed.

Depends on: PyYAML's safe loader.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from stillhouse_compression.errors import Problem, ScheduleError


class _Loader(yaml.SafeLoader):
    """The safe loader, with ``1e-5`` a number and a repeated key an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Hashable, yaml.Node] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen and not _is_same(seen[key], value_node):
                    raise yaml.constructor.ConstructorError(
                        None,
                        None,
                        f"key {key!r} stands there twice, with different values",
                        key_node.start_mark,
                    )
                seen[key] = value_node
        return super().construct_mapping(node, deep)


def _is_same(one: yaml.Node, other: yaml.Node) -> bool:
    """Whether two scalars, or two lists of scalars, say the same."""
    if isinstance(one, yaml.ScalarNode) and isinstance(other, yaml.ScalarNode):
        return bool(one.tag == other.tag and one.value == other.value)
    if isinstance(one, yaml.SequenceNode) and isinstance(other, yaml.SequenceNode):
        is_flat = all(isinstance(item, yaml.ScalarNode) for item in one.value)
        return (
            is_flat
            and len(one.value) == len(other.value)
            and all(map(_is_same, one.value, other.value))
        )
    return False


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def load_yaml(text: str | bytes, filename: str | None = None) -> Mapping[str, Any]:
    """Read a schedule's text.

    Args:
        text: The document.
        filename: Where it came from, for messages.

    Returns:
        The document's mapping.

    Raises:
        ScheduleError: The text is no YAML, has a tag that would execute code, repeats a
            key, or is not a mapping.
    """
    try:
        document = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = error.problem or error.context or "not YAML"
        if "could not determine a constructor" in what:
            what += "; only plain YAML is read, no tag that builds or runs anything"
        raise ScheduleError([Problem(place, what)], filename) from error
    except yaml.YAMLError as error:
        raise ScheduleError([Problem("", f"not YAML: {error}")], filename) from error
    except (ValueError, TypeError, OverflowError, RecursionError, AttributeError) as error:
        # PyYAML lets such errors of its scalar constructors and of deep nesting through.
        message = f"not YAML that can be read: {type(error).__name__}: {error}"
        raise ScheduleError([Problem("", message)], filename) from error
    if not isinstance(document, dict):
        found = "nothing" if document is None else type(document).__name__
        message = f"found {found}, wanted a mapping with pruners, policies, ..."
        raise ScheduleError([Problem("", message)], filename)
    return document
