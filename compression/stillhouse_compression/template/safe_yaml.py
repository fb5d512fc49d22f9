"""YAML text read safely, and plain data written so that it reads back the same.

Depends on: PyYAML. Knows nothing of templates or schedules.

Differences from PyYAML's ``SafeLoader``: ``1e-5`` is a float (YAML 1.1 reads text), ``1:30`` and
``2020-01-01`` are text (YAML 1.1 reads 90 and a date); size, depth and node count are bounded.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import yaml

Value: TypeAlias = bool | int | float | str | None
Plain: TypeAlias = "Value | list[Plain] | dict[str, Plain]"

MAX_CHARACTERS = 262_144
MAX_DEPTH = 40
MAX_NODES = 20_000  # aliases count each time they are used

_FLOAT = "tag:yaml.org,2002:float"
_INT = "tag:yaml.org,2002:int"
_EXPONENT_FLOAT = re.compile(r"^[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$")
_CONSTRUCTOR = yaml.constructor.SafeConstructor()


class YamlError(ValueError):
    """The text is not YAML that we read.

    Attributes:
        line: 1-based line, or None where the text as a whole is meant.
        column: 1-based column, or None.
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class SafeYamlLoader(yaml.SafeLoader):
    """Composes nodes with bounded depth and count; never constructs a Python object."""

    # A copy without dates and "=": neither occurs in a schedule, both surprise.
    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own class attribute)
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._n_nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node, its depth and the number of nodes bounded."""
        self._depth += 1
        self._n_nodes += 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # PyYAML's stubs
        if self._depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"nested deeper than {MAX_DEPTH} levels", mark
            )
        if self._n_nodes > MAX_NODES:
            raise yaml.composer.ComposerError(None, None, f"more than {MAX_NODES} nodes", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class PlainDumper(yaml.SafeDumper):
    """Writes plain data without anchors; text that we would read as a number is quoted."""

    def ignore_aliases(self, data: object) -> bool:
        """Write everything out: a schedule is read by people."""
        return True


for _class in (SafeYamlLoader, PlainDumper):
    _class.add_implicit_resolver(_FLOAT, _EXPONENT_FLOAT, list("-+.0123456789"))


def compose(text: str) -> yaml.Node | None:
    """Read one YAML document into nodes; None where it is empty.

    Raises:
        YamlError: The text is too long, too deep, too large or no YAML.
    """
    if len(text) > MAX_CHARACTERS:
        raise YamlError(f"{len(text)} characters; at most {MAX_CHARACTERS} are read")
    try:
        loader = SafeYamlLoader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        if mark is None:
            raise YamlError(what) from error
        raise YamlError(what, mark.line + 1, mark.column + 1) from error
    except yaml.YAMLError as error:
        raise YamlError(" ".join(str(error).split())) from error
    except (ValueError, OverflowError) as error:
        # PyYAML lets chr() and int() of hopeless escapes and directives through as they are.
        raise YamlError(f"not readable: {error}") from error


def scalar(node: yaml.ScalarNode, is_tagged: bool = False) -> Value:
    """Turn a scalar node into its value.

    Args:
        node: The node.
        is_tagged: Its tag is a search tag and says nothing of the value: resolve it anew.

    Raises:
        YamlError: It looks like a number that cannot be read, or holds half a character.
    """
    tag = _resolved(node) if is_tagged else node.tag
    text = node.value
    try:
        text.encode()
        if tag in (_INT, _FLOAT) and ":" not in text:
            if tag == _INT:
                return int(_CONSTRUCTOR.construct_yaml_int(node))
            return float(_CONSTRUCTOR.construct_yaml_float(node))
    except (ValueError, OverflowError) as error:
        raise YamlError(f"cannot read {text[:40]!r}: {error}") from error
    if tag == "tag:yaml.org,2002:bool":
        return text.lower() in ("yes", "true", "on")
    if tag == "tag:yaml.org,2002:null":
        return None
    return str(text)


def _resolved(node: yaml.ScalarNode) -> str:
    """Give the tag that the scalar would have without its own."""
    if node.style is not None:
        return "tag:yaml.org,2002:str"
    resolvers = SafeYamlLoader.yaml_implicit_resolvers
    for tag, pattern in resolvers.get(node.value[:1], []) + resolvers.get(None, []):
        if pattern.match(node.value):
            return str(tag)
    return "tag:yaml.org,2002:str"


def dump(data: object) -> str:
    """Write plain data (mappings, lists, scalars) as YAML; reads back equal, floats exactly."""
    text: str = yaml.dump(
        data,
        Dumper=PlainDumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=100,
    )
    return text


def serialize(node: yaml.Node) -> str:
    """Write nodes, tags and all, as YAML."""
    text: str = yaml.serialize(node, Dumper=PlainDumper, allow_unicode=True, width=100)
    return text
