"""A plain schedule as the original Distiller reads it, and what could not be said there.

Depends on: expansion. Source: Distiller 0.4.0-pre's loader and classes, read and run.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_compression.template.expansion import expand_names, patterns_of

THINNERS = {
    "FilterRemover": "remove_filters",
    "ChannelRemover": "remove_channels",
    "StructureRemover": "contract_model",
}
_NORM_RANKED = ("L1RankedStructureParameterPruner", "L2RankedStructureParameterPruner")
_CUDA_ONLY = (
    "ActivationAPoZRankedFilterPruner",
    "ActivationMeanRankedFilterPruner",
    "GradientRankedFilterPruner",
    "RandomRankedFilterPruner",
)
_OURS = ("mask_batchnorm", "recalibrate_batchnorm", "legacy_order", "group_size", "rounding_fn")
# What each of ours means where leaving it out changes nothing: the original's own behaviour.
_AS_ORIGINAL = {
    "mask_batchnorm": (False,),
    "recalibrate_batchnorm": (False,),
    "legacy_order": (True,),
    "group_size": (1,),
    "rounding_fn": ("floor", None),
}
_WHY = {
    "mask_batchnorm": "a pruned filter's BatchNorm stays and goes on emitting a constant",
    "recalibrate_batchnorm": "BatchNorm statistics are not estimated afresh after thinning",
    "legacy_order": "it prunes the most active filters first",
    "group_size": "it crashes there; filters are pruned in any number",
    "rounding_fn": "it is read and never used there; counts are rounded down",
}


class OriginalDialect:
    """Translates one schedule.

    Attributes:
        notes: What could not be said, one sentence each with its YAML path.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]] | None) -> None:
        """Take the network's parameter shapes, or None where no network is at hand."""
        self._shapes = shapes
        self.notes: list[str] = []

    def translate(self, schedule: Mapping[str, Any]) -> dict[str, Any]:
        """Write a schedule for the original.

        Args:
            schedule: Plain, of our dialect; it is not changed.
        """
        if self._shapes is not None:
            schedule = expand_names(schedule, self._shapes)
        for pattern in patterns_of(schedule):
            self.notes.append(f"{pattern}: patterns are not read there; give a network to expand")
        original: dict[str, Any] = copy.deepcopy(dict(schedule))
        if original.pop("distillation", None) is not None:
            self.notes.append("distillation: is set up in code there, not in a schedule")
        for name, entry in _entries(original, "pruners"):
            self._pruner(f"pruners.{name}", entry)
        for name, entry in _entries(original, "extensions"):
            self._thinner(f"extensions.{name}", entry)
        self._unreachable(original)
        for index, policy in enumerate(original.get("policies") or ()):
            body = policy.get("pruner") if isinstance(policy, Mapping) else None
            if isinstance(body, dict) and isinstance(body.get("args"), dict):
                self._drop_ours(f"policies[{index}].pruner.args", body["args"])
                if not body["args"]:
                    del body["args"]
        return original

    def _drop_ours(self, path: str, arguments: dict[str, Any]) -> None:
        """Take our own arguments out; tell those whose absence changes something."""
        for key in _OURS:
            if key in arguments and arguments.pop(key) not in _AS_ORIGINAL[key]:
                self.notes.append(f"{path}.{key}: is not known there: {_WHY[key]}")

    def _pruner(self, path: str, entry: dict[str, Any]) -> None:
        kind = str(entry.get("class"))
        family = kind.removesuffix("_AGP")
        self._drop_ours(path, entry)
        dependency = entry.get("group_dependency")
        if dependency is not None and family not in _NORM_RANKED:
            del entry["group_dependency"]
            self.notes.append(f"{path}.group_dependency: {kind} takes none there; each ranks alone")
        elif dependency == "Group":
            entry["group_dependency"] = "Leader"
            weights = entry.get("weights")
            leader = weights[0] if isinstance(weights, list) and weights else "the first"
            self.notes.append(
                f"{path}.group_dependency: Group became Leader: {leader} alone decides, "
                "not the sum over the group"
            )
        if family in _CUDA_ONLY:
            self.notes.append(f"{path}.class: {kind} runs on CUDA only there")
        if family == "BernoulliFilterPruner":
            self.notes.append(f"{path}.class: {kind} always fails there")
        if "initial_sparsity" in entry:
            self._raise_initial(path, entry, kind)

    def _raise_initial(self, path: str, entry: dict[str, Any], kind: str) -> None:
        """Prune at least one element or filter at first: the original crashes on none."""
        is_leader = entry.get("group_dependency") == "Leader"
        if kind != "AutomatedGradualPruner" and not is_leader:
            return
        initial, final = entry["initial_sparsity"], entry.get("final_sparsity")
        count = self._smallest_count(entry, is_leader)
        if count is None:
            if initial == 0:
                self.notes.append(
                    f"{path}.initial_sparsity: 0 crashes there; give a network to raise it"
                )
            return
        if not isinstance(initial, int | float) or math.floor(initial * count) >= 1:
            return
        raised = 1 / count
        while math.floor(raised * count) < 1:
            raised = math.nextafter(raised, 1.0)
        if isinstance(final, int | float) and raised >= final:
            self.notes.append(
                f"{path}.initial_sparsity: {initial} prunes nothing, which crashes there, and "
                f"final_sparsity {final} leaves no room to raise it"
            )
            return
        entry["initial_sparsity"] = raised
        self.notes.append(
            f"{path}.initial_sparsity: {initial} became {raised:.6g}: pruning nothing crashes there"
        )

    def _smallest_count(self, entry: dict[str, Any], is_leader: bool) -> int | None:
        """Count what the smallest parameter offers: filters under a leader, else elements."""
        if self._shapes is None or not isinstance(entry.get("weights"), list):
            return None
        shapes = [self._shapes[name] for name in entry["weights"] if name in self._shapes]
        if not is_leader:
            return min((math.prod(shape) for shape in shapes), default=None)
        axis = 0 if entry.get("group_type") in ("Filters", "3D") else 1
        return min((shape[axis] for shape in shapes if len(shape) > axis), default=None)

    def _thinner(self, path: str, entry: dict[str, Any]) -> None:
        """Give a thinning extension the arguments that are obligatory there."""
        kind = str(entry.get("class"))
        if kind not in THINNERS:
            return
        self._drop_ours(path, entry)
        wanted = {
            "thinning_func_str": THINNERS[kind],
            "arch": "resnet20_cifar",
            "dataset": "cifar10",
        }
        missing = [key for key in wanted if key not in entry]
        if missing:
            entry.update({key: wanted[key] for key in missing})
            self.notes.append(
                f"{path}: {', '.join(missing)} are obligatory there and were filled in; "
                "dataset only says the input's shape (cifar10: 3x32x32), arch nothing"
            )
        for key in [key for key in entry if key not in ("class", *wanted)]:
            del entry[key]
            self.notes.append(f"{path}.{key}: is not known there")

    def _unreachable(self, schedule: dict[str, Any]) -> None:
        """Leave out what the original cannot build, with its policies."""
        for name, entry in list(_entries(schedule, "regularizers")):
            if entry.get("class") == "DropFilterRegularizer":
                del schedule["regularizers"][name]
                schedule["policies"] = [
                    policy
                    for policy in schedule.get("policies") or ()
                    if (policy.get("regularizer") or {}).get("instance_name") != name
                ]
                self.notes.append(
                    f"regularizers.{name}: DropFilterRegularizer is not reachable there; left out"
                )


def _entries(schedule: dict[str, Any], section: str) -> list[tuple[str, dict[str, Any]]]:
    entries = schedule.get(section)
    if not isinstance(entries, dict):
        return []
    return [(name, entry) for name, entry in entries.items() if isinstance(entry, dict)]
