"""Patterns of parameter names in a plain schedule, written out for one network.

Depends on: names, registry (which classes take names), schedule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stillhouse_compression.schedule import registry
from stillhouse_compression.schedule.arguments import Argument
from stillhouse_compression.schedule.names import expand_map, is_pattern, match
from stillhouse_compression.schedule.schedule import SECTIONS


def expand_names(schedule: Mapping[str, Any], parameters: Iterable[str]) -> dict[str, Any]:
    """Write every pattern of a schedule out as the names that it means.

    Args:
        schedule: A plain schedule; it is not changed.
        parameters: The network's parameter names.

    Returns:
        The schedule with names in place of patterns. A pattern or name that nothing has stays,
        so that the schedule's check can name it; so do classes that the registry does not know.
    """
    names = list(parameters)
    expanded = dict(schedule)
    for section in SECTIONS:
        entries = schedule.get(section)
        if isinstance(entries, Mapping):
            expanded[section] = {
                key: _instance(section, entry, names) for key, entry in entries.items()
            }
    return expanded


def patterns_of(schedule: Mapping[str, Any]) -> list[str]:
    """List the patterns in a schedule as ``pruners.stage1.weights: layer1.*``."""
    found: list[str] = []
    for section in SECTIONS:
        entries = schedule.get(section)
        for key, entry in entries.items() if isinstance(entries, Mapping) else ():
            for argument in _name_arguments(section, entry):
                value = entry.get(argument.name) or ()
                for name in [value] if isinstance(value, str) else value:
                    if isinstance(name, str) and name != "*" and is_pattern(name):
                        found.append(f"{section}.{key}.{argument.name}: {name}")
    return found


def _name_arguments(section: str, entry: object) -> list[Argument]:
    """Give the arguments of an instance's class that hold parameter names."""
    if not isinstance(entry, Mapping) or entry.get("class") not in registry.names(section):
        return []
    spec = registry.find(section, entry["class"])
    return [argument for argument in spec.arguments if argument.names != "none"]


def _instance(section: str, entry: object, names: list[str]) -> object:
    if not isinstance(entry, Mapping):
        return entry
    expanded = dict(entry)
    for argument in _name_arguments(section, entry):
        value = entry.get(argument.name)
        if argument.names == "list" and isinstance(value, str):
            value = [value]
        if argument.names == "list" and isinstance(value, list):
            found = (
                match(name, names) or [name] if isinstance(name, str) else [name] for name in value
            )
            expanded[argument.name] = list(dict.fromkeys(n for group in found for n in group))
        elif argument.names == "map" and isinstance(value, Mapping):
            kept = {key: item for key, item in value.items() if key == "*" or not match(key, names)}
            expanded[argument.name] = expand_map(value, names) | kept
    return expanded
