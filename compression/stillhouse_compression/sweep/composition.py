"""Several schedules as one: the best of each domain together, no tensor pruned by two.

Depends on: the names of schedules.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse_compression.schedule.names import expand, expand_map

_MAPS = ("levels", "thresholds", "sensitivities", "reg_regims")
_SECTIONS = {"pruners": "pruner", "regularizers": "regularizer"}
RULE = (
    "a new mask replaces an older one, so a tensor can have one pruner only: it stays with the "
    "pair that was faster alone; layers that are ranked together leave together"
)


@dataclass(frozen=True)
class Member:
    """One schedule of a composition.

    Attributes:
        name: Prefix of its instances, and how conflicts call it.
        schedule: Plain, names written out.
    """

    name: str
    schedule: Mapping[str, Any]


@dataclass(frozen=True)
class Conflict:
    """A tensor that two members prune.

    Attributes:
        tensor: Parameter's name.
        kept_by: The member that goes on pruning it.
        lost_by: The member that does no longer.
    """

    tensor: str
    kept_by: str
    lost_by: str


def compose(members: Sequence[Member]) -> tuple[dict[str, Any], list[Conflict]]:
    """Put schedules together.

    Args:
        members: The first has the first say: sort them by what they gained.

    Returns:
        The schedule, instances named ``<member>_<instance>``, and what was decided (`RULE`).
    """
    schedule: dict[str, Any] = {"version": 1}
    owners: dict[str, str] = {}
    conflicts: list[Conflict] = []
    policies: list[dict[str, Any]] = []
    for member in members:
        lost = _lost(member, owners)
        conflicts += [
            Conflict(name, owners[name], member.name) for name in sorted(lost & set(owners))
        ]
        kept: set[str] = set()
        for section, kind in _SECTIONS.items():
            for name, instance in member.schedule.get(section, {}).items():
                left = _without(instance, lost)
                if left is None:
                    continue
                kept |= tensors_of(left)
                schedule.setdefault(section, {})[f"{member.name}_{name}"] = left
                policies += _policies(member, kind, name)
        owners |= {tensor: member.name for tensor in kept}
    return schedule | {"policies": policies}, conflicts


def expanded(instance: Mapping[str, Any], parameters: Sequence[str]) -> dict[str, Any]:
    """Write out the patterns of names in a pruner or regulariser.

    Args:
        instance: `{class: ..., arguments}`.
        parameters: The network's names.
    """
    written = dict(instance)
    if isinstance(written.get("weights"), str):
        written["weights"] = [written["weights"]]
    if "weights" in written:
        written["weights"] = expand(written["weights"], parameters)
    for key in _MAPS:
        if isinstance(written.get(key), Mapping):
            wild = {name: one for name, one in written[key].items() if name == "*"}
            written[key] = wild | expand_map(written[key], parameters)
    return written


def tensors_of(instance: Mapping[str, Any]) -> set[str]:
    """Name the parameters that a pruner or regulariser treats."""
    found = set(instance.get("weights", ()))
    for key in _MAPS:
        found |= set(instance.get(key, ()))
    return found - {"*"}


def _lost(member: Member, owners: Mapping[str, str]) -> set[str]:
    """What a member must not prune: what others have, and whatever is tied to that."""
    lost: set[str] = set()
    for section in _SECTIONS:
        for instance in member.schedule.get(section, {}).values():
            mine = tensors_of(instance)
            taken = mine & set(owners)
            lost |= mine if taken and instance.get("group_dependency") else taken
    return lost


def _without(instance: Mapping[str, Any], lost: set[str]) -> dict[str, Any] | None:
    left = copy.deepcopy(dict(instance))
    if "weights" in left:
        left["weights"] = [name for name in left["weights"] if name not in lost]
    for key in _MAPS:
        if key in left:
            left[key] = {name: one for name, one in left[key].items() if name not in lost}
    return left if tensors_of(left) else None


def _policies(member: Member, kind: str, instance: str) -> list[dict[str, Any]]:
    found = []
    for policy in member.schedule.get("policies", ()):
        if policy.get(kind, {}).get("instance_name") == instance:
            copied = copy.deepcopy(dict(policy))
            copied[kind]["instance_name"] = f"{member.name}_{instance}"
            found.append(copied)
    return found
