"""What of a network a template may prune: bundles of layers that share one sparsity.

Depends on: torch, thinning (which layers are coupled), layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from stillhouse_compression.layers import example_input
from stillhouse_compression.modes import evaluating
from stillhouse_compression.thinning import channel_units
from stillhouse_compression.thinning.graph import groups_of

Per: TypeAlias = Literal["layer", "stage", "model"]


@dataclass(frozen=True)
class Bundle:
    """Layers that one pruner treats.

    Attributes:
        name: Instance name.
        kind: ``free``: convolutions whose filters nobody else must lose; ``coupled``: layers
            that lose the same filters or none; ``linear``: linear layers.
        weights: Parameter names, in model order.
        follows: The coupled bundle whose sparsity it shares, or None.
    """

    name: str
    kind: Literal["free", "coupled", "linear"]
    weights: tuple[str, ...]
    follows: str | None = None


def bundles(model: nn.Module, input_shape: Sequence[int], per: Per) -> list[Bundle]:
    """Sort a network's layers into bundles.

    Stages are what runs at one resolution: ``stage1`` at the highest. Layers whose filters can
    never be cut (the network's output, grouped convolutions) are left out of the first two kinds.

    Args:
        model: Unchanged.
        input_shape: (channels, height, width).
        per: Whether each layer, each stage or the whole network has a sparsity of its own.
            Coupled layers always share one.

    Raises:
        ThinningError: The network cannot be traced.
    """
    stages = stage_numbers(model, input_shape)
    free: list[str] = []
    coupled: list[tuple[str, ...]] = []
    units = channel_units(model, input_shape)
    protected = {
        slot.module
        for unit in units
        if unit.protection
        for slot in unit.slots
        if slot.side == "out"
    }
    for group in groups_of(model, units):
        if not protected.isdisjoint(group) or not _can_share_a_mask(model, group):
            continue
        if len(group) > 1:
            coupled.append(group)
        else:
            free.extend(group)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return [
        *_free_bundles(free, stages, per),
        *_coupled_bundles(coupled, stages, per),
        *_linear_bundles(linear, per),
    ]


def _can_share_a_mask(model: nn.Module, group: Sequence[str]) -> bool:
    """Tell whether one mask of filters fits all layers of a group."""
    widths: set[int] = set()
    for name in group:
        module = model.get_submodule(name)
        if not isinstance(module, nn.Conv2d) or module.groups not in (1, module.in_channels):
            return False
        widths.add(module.out_channels)
    return len(widths) == 1 and max(widths) > 1


@torch.no_grad()
def stage_numbers(model: nn.Module, input_shape: Sequence[int]) -> dict[str, int]:
    """Number the convolutions by resolution, from 1 at the highest.

    Args:
        model: Run once, in evaluation mode; unchanged.
        input_shape: (channels, height, width).

    Returns:
        Module path -> number of its stage.
    """
    sizes: dict[str, int] = {}

    def keep(name: str, output: Tensor) -> None:
        sizes[name] = output.shape[-1] * output.shape[-2]

    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: keep(name, output))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        with evaluating(model):
            model(example_input(model, input_shape))
    finally:
        for handle in handles:
            handle.remove()
    ranks = sorted(set(sizes.values()), reverse=True)
    return {name: ranks.index(size) + 1 for name, size in sizes.items()}


def _free_bundles(layers: Sequence[str], stages: dict[str, int], per: Per) -> list[Bundle]:
    named: dict[str, list[str]] = {}
    for layer in layers:
        name = {"layer": _slug(layer), "stage": f"stage{stages[layer]}", "model": "free"}[per]
        named.setdefault(name, []).append(f"{layer}.weight")
    return [Bundle(name, "free", tuple(weights)) for name, weights in named.items()]


def _coupled_bundles(
    groups: Sequence[tuple[str, ...]], stages: dict[str, int], per: Per
) -> list[Bundle]:
    """Give each group its own bundle: one pruner has one verdict for all its layers."""
    if per == "model":
        names = [f"coupled{number}" for number in range(1, len(groups) + 1)]
    else:
        bases = [f"stage{stages[group[-1]]}_coupled" for group in groups]
        numbers: Counter[str] = Counter()
        names = []
        for base in bases:
            numbers[base] += 1
            names.append(f"{base}{numbers[base]}" if bases.count(base) > 1 else base)
    leader = names[0] if per == "model" and names else None
    return [
        Bundle(
            name,
            "coupled",
            tuple(f"{layer}.weight" for layer in group),
            leader if name != leader else None,
        )
        for name, group in zip(names, groups, strict=True)
    ]


def _linear_bundles(layers: Sequence[str], per: Per) -> list[Bundle]:
    if per == "layer":
        return [Bundle(_slug(layer), "linear", (f"{layer}.weight",)) for layer in layers]
    weights = tuple(f"{layer}.weight" for layer in layers)
    return [Bundle("linear", "linear", weights)] if weights else []


def _slug(layer: str) -> str:
    """Make an instance name of a layer's: dots would read as a path."""
    return layer.replace(".", "_")
