"""Which of a network's parameters a name in a schedule means.

A name is exact (``layer1.0.conv1.weight``) or a glob pattern whose ``*`` and ``?``
also match dots (``layer1.*.conv1.weight``). The ``module`` that DataParallel puts into a
name, at its front or where it wraps a part of the network, is ignored on both sides.

Depends on: the standard library.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping

PREFIX = "module."


def canonical(name: str) -> str:
    """``name`` without DataParallel's ``module``."""
    if "module" not in name:
        return name
    return ".".join(part for part in name.split(".") if part != "module")


def is_pattern(name: str) -> bool:
    """Whether ``name`` is a glob pattern."""
    return any(sign in name for sign in "*?[")


def match(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that ``pattern`` means.

    Args:
        pattern: Exact name or glob pattern.
        names: The model's parameter names.

    Returns:
        Matching names in the model's order and spelling; empty when there is none.
    """
    names = list(names)
    if pattern in names:
        return [pattern]
    wanted = canonical(pattern)
    exact = [name for name in names if canonical(name) == wanted]
    if exact or not is_pattern(wanted):
        return exact
    return [name for name in names if fnmatch.fnmatchcase(canonical(name), wanted)]


def expand(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """All names that ``patterns`` mean, each once, in the order of the patterns."""
    known = list(names)
    return list(dict.fromkeys(name for pattern in patterns for name in match(pattern, known)))


def expand_map(entries: Mapping[str, object], names: Iterable[str]) -> dict[str, object]:
    """The value that each parameter gets from a mapping keyed by names or patterns.

    An exact name wins over a pattern; of several patterns the first wins. The literal
    key ``*`` is not expanded here: its meaning belongs to the class that takes it.
    """
    known = list(names)
    keys = [key for key in entries if key != "*"]
    found: dict[str, object] = {}
    for key in sorted(keys, key=is_pattern):
        for name in match(key, known):
            found.setdefault(name, entries[key])
    return found
