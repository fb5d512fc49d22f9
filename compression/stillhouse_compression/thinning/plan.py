"""Which channels to cut: those that are zero in every layer they are coupled with.

Depends on: torch. Decides; changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from stillhouse_compression.thinning.graph import Side, Slot, Unit, groups_of
from stillhouse_compression.thinning.report import StayedMasked
from stillhouse_compression.thinning.shapes import is_depthwise

Part = Literal["filters", "channels"]


@dataclass(frozen=True)
class CutPlan:
    """What shall be cut.

    Attributes:
        cut: Every slot that goes.
        stayed: Zero structures that stay, and why.
    """

    cut: frozenset[Slot]
    stayed: tuple[StayedMasked, ...]


def plan_cuts(model: nn.Module, units: Sequence[Unit], parts: Sequence[Part]) -> CutPlan:
    """Choose the units to cut.

    Args:
        model: Its weights are read.
        units: `channel_units` of the same network.
        parts: ``filters``: a unit goes when its filter is exactly zero in every layer that makes
            it. ``channels``: when its input channel is exactly zero in every layer that reads it.

    Returns:
        The plan. No layer loses its last filter; grouped convolutions stay evenly grouped.
    """
    zeros = _Zeros(model)
    reasons: dict[int, str] = {}
    chosen: set[int] = set()
    for number, unit in enumerate(units):
        blame = [zeros.blame(unit, part) for part in parts]
        if unit.protection is not None:
            reasons[number] = unit.protection
        elif any(part_blame == () for part_blame in blame):
            chosen.add(number)
        else:
            named = [part_blame for part_blame in blame if part_blame]
            reasons[number] = "not zero in " + ", ".join(named[0]) if named else ""
    _keep_structure(model, units, chosen, reasons)
    cut = frozenset(slot for number in chosen for slot in units[number].slots)
    return CutPlan(cut, _stayed(model, units, chosen, reasons, zeros, parts))


class _Zeros:
    """Which filters and input channels are exactly zero."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._masks: dict[tuple[str, Side], list[bool]] = {}

    def is_zero(self, slot: Slot) -> bool:
        key = (slot.module, slot.side)
        if key not in self._masks:
            module = self.model.get_submodule(slot.module)
            self._masks[key] = _zero_slices(module, slot.side).tolist()
        return bool(self._masks[key][slot.index])

    def slots(self, unit: Unit, part: Part) -> list[Slot]:
        """A unit's filters, or the input channels that read it."""
        if part == "channels":
            return [slot for slot in unit.slots if slot.side == "in"]
        return [slot for slot in unit.slots if slot.side == "out" and slot.module in unit.layers]

    def blame(self, unit: Unit, part: Part) -> tuple[str, ...] | None:
        """The layers in which a unit is not zero; None when it is zero in none or has none."""
        slots = self.slots(unit, part)
        alive = tuple(dict.fromkeys(slot.module for slot in slots if not self.is_zero(slot)))
        if not slots or (alive and not any(self.is_zero(slot) for slot in slots)):
            return None
        return alive


@torch.no_grad()
def _zero_slices(module: nn.Module, side: Side) -> Tensor:
    """Boolean (filters,) or (input channels,): True where every weight is exactly zero."""
    assert isinstance(module, _ConvNd | nn.Linear)
    weight = module.weight.detach()
    if isinstance(module, _ConvNd) and module.transposed:
        weight = weight.transpose(0, 1)
    if side == "out":
        return torch.count_nonzero(weight.flatten(1), dim=1) == 0
    groups = module.groups if isinstance(module, _ConvNd) else 1
    # (groups, filters a group, channels a group, kernel)
    grouped = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return (torch.count_nonzero(grouped, dim=(1, 3)) == 0).flatten()


def _keep_structure(
    model: nn.Module, units: Sequence[Unit], chosen: set[int], reasons: dict[int, str]
) -> None:
    """Take units back until no layer is empty and every grouped convolution is even."""
    owner = {slot: number for number, unit in enumerate(units) for slot in unit.slots}
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _ConvNd | nn.Linear)
    }

    def keep(number: int, reason: str) -> None:
        chosen.discard(number)
        reasons[number] = reason

    while True:
        before = len(chosen)
        for name, module in layers.items():
            cut = _cut_slots(owner, chosen, name, "out")
            n_filters = module.out_channels if isinstance(module, _ConvNd) else module.out_features
            if cut and len(cut) == n_filters:
                keep(owner[cut[0]], f"{name} would be empty")
                cut = cut[1:]
            if not isinstance(module, _ConvNd) or module.groups == 1 or is_depthwise(module):
                continue
            why = f"the {module.groups} groups of {name} must stay equally wide"
            by_group: dict[int, list[Slot]] = defaultdict(list)
            for slot in cut:
                by_group[slot.index // (n_filters // module.groups)].append(slot)
            n_even = min(len(by_group[group]) for group in range(module.groups))
            for slots in by_group.values():
                for slot in slots[n_even:]:
                    keep(owner[slot], why)
            width = module.in_channels // module.groups
            incoming = _cut_slots(owner, chosen, name, "in")
            positions = Counter(slot.index % width for slot in incoming)
            full = {position for position, n in positions.items() if n == module.groups}
            if len(full) == width:
                full.discard(min(full))
            for slot in incoming:
                if slot.index % width not in full:
                    keep(owner[slot], why)
        if len(chosen) == before:
            return


def _cut_slots(owner: dict[Slot, int], chosen: set[int], name: str, side: Side) -> list[Slot]:
    slots = []
    index = 0
    while (slot := Slot(name, side, index)) in owner:
        if owner[slot] in chosen:
            slots.append(slot)
        index += 1
    return slots


def _stayed(
    model: nn.Module,
    units: Sequence[Unit],
    chosen: set[int],
    reasons: dict[int, str],
    zeros: _Zeros,
    parts: Sequence[Part],
) -> tuple[StayedMasked, ...]:
    """Count what is zero and stays, by layer and reason."""
    group_of = {name: group for group in groups_of(model, units) for name in group}
    counts: Counter[tuple[str, Part, str]] = Counter()
    for number, unit in enumerate(units):
        if number in chosen:
            continue
        for part in parts:
            for slot in zeros.slots(unit, part):
                if zeros.is_zero(slot):
                    counts[slot.module, part, reasons.get(number, "")] += 1
    return tuple(
        StayedMasked(
            layer=layer,
            part=part,
            n=n,
            group=group_of[layer] if len(group_of.get(layer, ())) > 1 else (),
            reason=reason,
        )
        for (layer, part, reason), n in counts.items()
    )
