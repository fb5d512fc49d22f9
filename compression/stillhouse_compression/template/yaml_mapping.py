"""Mapping nodes as (key, value) pairs: keys as text, merge keys spread, doubled keys found.

Depends on: PyYAML, errors.
"""

from __future__ import annotations

import yaml

from stillhouse_compression.errors import nearest
from stillhouse_compression.template.errors import Findings, Place

Entries = dict[str, tuple[yaml.Node, yaml.Node]]

MAX_KEY = 200

_MERGE = "tag:yaml.org,2002:merge"


def place_of(node: yaml.Node, path: str) -> Place:
    """Tell where a node stands."""
    return Place(path, node.start_mark.line + 1, node.start_mark.column + 1)


class MappingReader:
    """Reads mapping nodes; each node once, however many aliases lead to it."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._read: dict[int, Entries] = {}

    def entries(self, node: yaml.MappingNode, path: str) -> Entries:
        """Give ``{key: (key node, value node)}`` in the text's order, merged keys first.

        Keys are taken as they are written: ``off: 1`` has the key ``off``, not ``False``.
        """
        if id(node) in self._read:
            return self._read[id(node)]
        # Entered before its merges are followed: a mapping that merges itself finds this one.
        merged: Entries = {}
        self._read[id(node)] = merged
        own: Entries = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                merged |= self._merged(value, path)
            elif not isinstance(key, yaml.ScalarNode) or not key.tag.startswith("tag:yaml.org"):
                self._findings.add(place_of(key, path), "a key must be plain text")
            elif not key.value:
                self._findings.add(place_of(key, path), "a key must not be empty")
            elif not key.value.isprintable() or len(key.value) > MAX_KEY:
                self._findings.add(
                    place_of(key, path), f"a key must be printable and at most {MAX_KEY} long"
                )
            elif key.value in own:
                first = own[key.value][0].start_mark.line + 1
                place = place_of(key, f"{path}.{key.value}" if path else key.value)
                self._findings.add(
                    place, f"key {key.value!r} stands twice, first in line {first}; remove one"
                )
            else:
                own[key.value] = (key, value)
        merged |= own
        return merged

    def _merged(self, value: yaml.Node, path: str) -> Entries:
        """Give the entries that a merge key brings; of several sources the first wins."""
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        merged: Entries = {}
        for source in reversed(sources):
            if isinstance(source, yaml.MappingNode):
                merged |= self.entries(source, path)
            else:
                self._findings.add(place_of(source, path), "<< merges a mapping, or a list of them")
        return merged

    def arguments(
        self, node: yaml.Node, allowed: tuple[str, ...], what: str, path: str
    ) -> Entries | None:
        """Read a tag's arguments; None, with the problem noted, where it has no mapping."""
        wanted = ", ".join(allowed)
        if not isinstance(node, yaml.MappingNode):
            self._findings.add(place_of(node, path), f"{what} takes a mapping with {wanted}")
            return None
        entries = self.entries(node, path)
        for key, (key_node, _) in entries.items():
            if key not in allowed:
                self._findings.add(
                    place_of(key_node, f"{path}.{key}"),
                    f"{what} has no argument {key!r}, it takes {wanted}{nearest(key, allowed)}",
                )
        return {key: entry for key, entry in entries.items() if key in allowed}
