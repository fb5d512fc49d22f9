"""Which channels of a network must be cut together, read off torch-pruning's dependency graph.

A *slot* is one channel of one module on one side, e.g. filter 3 of ``layer1.0.conv1`` or input 3
of ``layer1.0.conv2``. A *unit* is a set of slots that stand or fall together.

Depends on: torch, torch-pruning (its graph alone; cutting is cut.py's).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch_pruning import ops  # type: ignore[import-untyped]  # ships no types
from torch_pruning.dependency import DependencyGraph  # type: ignore[import-untyped]  # no types

from stillhouse_compression.errors import ThinningError
from stillhouse_compression.layers import example_input
from stillhouse_compression.modes import evaluating
from stillhouse_compression.thinning.shapes import is_depthwise

Side = Literal["out", "in"]
T = TypeVar("T", bound=Hashable)
_CUTTABLE = (_ConvNd, nn.Linear, _BatchNorm, nn.PReLU)
# Operations that the graph library follows rightly. Splitting and slicing it does not: it takes
# split sizes for the number of inputs they came from and lets half of the channels drop out.
_TRANSPARENT = (ops.OPTYPE.ELEMENTWISE, ops.OPTYPE.CONCAT, ops.OPTYPE.RESHAPE)


@dataclass(frozen=True, order=True, slots=True)
class Slot:
    """One channel of one module: a filter (``out``) or an input channel (``in``).

    A depthwise convolution, a BatchNorm and a PReLU have ``out`` slots only: their input and
    output channels are the same.
    """

    module: str
    side: Side
    index: int


@dataclass(frozen=True)
class Unit:
    """Slots that can only be cut together.

    Attributes:
        slots: Sorted by model order, side, index.
        layers: The convolution and linear layers whose filters are in it, in model order.
        protection: Why it may never be cut, or None: it is the network's output, or passes
            through something whose channels cannot be followed.
    """

    slots: tuple[Slot, ...]
    layers: tuple[str, ...]
    protection: str | None


def channel_units(model: nn.Module, input_shape: Sequence[int]) -> list[Unit]:
    """Partition every filter of every convolution and linear layer into units.

    Args:
        model: Traced in evaluation mode; unchanged.
        input_shape: (channels, height, width).

    Returns:
        Units in model order of their first filter.

    Raises:
        ThinningError: The network cannot be traced.
    """
    graph = _trace(model, input_shape)
    reused = _reused_modules(model, input_shape)
    names = {module: name for name, module in model.named_modules()}
    order = {name: position for position, name in enumerate(names.values())}
    filtering = {name for name, m in model.named_modules() if isinstance(m, _ConvNd | nn.Linear)}
    sets: _DisjointSets[Slot] = _DisjointSets()
    protections: dict[Slot, str] = {}
    for name, module in model.named_modules():
        if name not in filtering or module not in graph.module2node:
            continue
        pruner = graph.get_pruner_of_module(module)
        uncovered = [
            index
            for index in range(pruner.get_out_channels(module))
            if Slot(name, "out", index) not in sets
        ]
        if not uncovered:
            continue
        group = graph.get_pruning_group(module, pruner.prune_out_channels, uncovered)
        anchors = [Slot(name, "out", index) for index in uncovered]
        _collect(graph, group, name, anchors, names, reused, sets, protections)
    units = []
    for members in sets.members():
        slots = tuple(sorted(members, key=lambda slot: (order[slot.module], slot.side, slot.index)))
        reason = next((protections[slot] for slot in slots if slot in protections), None)
        if reason is None and not any(slot.side == "in" for slot in slots):
            reason = "its output is the network's output"
        makers = (slot.module for slot in slots if slot.side == "out" and slot.module in filtering)
        units.append(Unit(slots, tuple(dict.fromkeys(makers)), reason))
    return sorted(units, key=lambda unit: (order[unit.slots[0].module], unit.slots[0].index))


def coupled_groups(model: nn.Module, input_shape: Sequence[int]) -> list[list[str]]:
    """Name the layers whose filters can only be cut together.

    Args:
        model: Unchanged.
        input_shape: (channels, height, width).

    Returns:
        Groups of two or more convolution or linear layers in model order; ResNet-20 has three of
        four: the stem with the first stage's ``conv2``, and in each later stage the shortcut
        with the stage's ``conv2``.
    """
    units = channel_units(model, input_shape)
    return [list(group) for group in groups_of(model, units) if len(group) > 1]


def groups_of(model: nn.Module, units: Sequence[Unit]) -> list[tuple[str, ...]]:
    """Join the layers that share a unit; each layer is in one group, all in model order."""
    sets: _DisjointSets[str] = _DisjointSets()
    for unit in units:
        for layer in unit.layers:
            sets.join(unit.layers[0], layer)
    order = {name: position for position, (name, _) in enumerate(model.named_modules())}
    groups = [tuple(sorted(group, key=order.__getitem__)) for group in sets.members()]
    return sorted(groups, key=lambda group: order[group[0]])


def _collect(
    graph: Any,
    group: Any,
    root: str,
    anchors: Sequence[Slot],
    names: dict[nn.Module, str],
    reused: set[str],
    sets: _DisjointSets[Slot],
    protections: dict[Slot, str],
) -> None:
    """Read one of the library's groups into slots, joined by the root filter they come from."""
    for anchor in anchors:
        sets.join(anchor, anchor)
    reasons = (
        _protection(item.dep.target, names.get(item.dep.target.module), reused)
        for item in group.items
    )
    reason = next((reason for reason in reasons if reason is not None), None)
    if reason is not None:
        # What lies behind a node that cannot be followed has indices that mean nothing.
        protections.update(dict.fromkeys(anchors, reason))
        return
    for item in group.items:
        module, handler = item.dep.target.module, item.dep.handler
        name = names.get(module)
        if name is None or not _has_channels(module):
            continue
        is_out = (
            graph.is_out_channel_pruning_fn(handler)
            or is_depthwise(module)
            or isinstance(module, _BatchNorm | nn.PReLU)
        )
        for root_index, index in zip(item.root_idxs, item.idxs, strict=True):
            sets.join(Slot(root, "out", root_index), Slot(name, "out" if is_out else "in", index))


def _has_channels(module: Any) -> bool:
    """Whether a module has tensors that shrink with its channels."""
    if isinstance(module, nn.PReLU):
        return module.num_parameters > 1  # one slope for all channels is nobody's
    return isinstance(module, _CUTTABLE)


def _protection(target: Any, name: str | None, reused: set[str]) -> str | None:
    """Why nothing that reaches this node may be cut, or None."""
    module = target.module
    if name is not None and name in reused:
        return f"{name} runs more than once"
    if target.type == ops.OPTYPE.OUTPUT:
        return "its output is the network's output"
    if isinstance(module, _CUTTABLE):
        if (
            isinstance(module, _ConvNd)
            and module.groups > 1
            and module.groups == module.out_channels
            and not is_depthwise(module)
        ):
            return f"{name} has several input channels for each single filter of its groups"
        if isinstance(module, _ConvNd) and module.groups > 1 and module.transposed:
            return f"{name} is a grouped transposed convolution"
        return None
    if target.type == ops.OPTYPE.CONCAT and module.offsets is None:
        # The sizes it inferred do not add up, e.g. because the network's input is joined too.
        return "the parts of a concatenation cannot be told apart"
    if target.type in _TRANSPARENT:
        return None
    return f"channels cannot be followed through {name or str(target.type.name).lower()}"


def _trace(model: nn.Module, input_shape: Sequence[int]) -> Any:
    """Let torch-pruning trace the network; gradients are switched on for it and off again."""
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        with evaluating(model), torch.enable_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Unwrapped parameters detected")
            return DependencyGraph().build_dependency(
                model, example_input(model, input_shape), verbose=False
            )
    except (RuntimeError, ValueError, AttributeError, AssertionError, TypeError) as error:
        raise ThinningError(f"this network cannot be traced for thinning: {error}") from error
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


@torch.no_grad()
def _reused_modules(model: nn.Module, input_shape: Sequence[int]) -> set[str]:
    """Names of modules with weights that run more than once in a forward pass."""
    counts: Counter[str] = Counter()
    handles = [
        module.register_forward_hook(lambda *_, name=name: counts.update([name]))
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    try:
        with evaluating(model):
            output = model(example_input(model, input_shape))
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(output, Tensor):
        raise ThinningError(
            f"thinning wants a network with one output tensor, got {type(output).__name__}"
        )
    return {name for name, count in counts.items() if count > 1}


class _DisjointSets(Generic[T]):
    """Things joined into sets (union by first arrival, paths halved)."""

    def __init__(self) -> None:
        self._parent: dict[T, T] = {}

    def __contains__(self, thing: T) -> bool:
        return thing in self._parent

    def find(self, thing: T) -> T:
        parent = self._parent
        parent.setdefault(thing, thing)
        while parent[thing] != thing:
            parent[thing] = parent[parent[thing]]
            thing = parent[thing]
        return thing

    def join(self, a: T, b: T) -> None:
        first, second = self.find(a), self.find(b)
        if first != second:
            self._parent[second] = first

    def members(self) -> list[list[T]]:
        found: dict[T, list[T]] = {}
        for thing in self._parent:
            found.setdefault(self.find(thing), []).append(thing)
        return list(found.values())
