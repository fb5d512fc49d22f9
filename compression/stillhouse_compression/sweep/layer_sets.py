"""Which layers a sweep prunes at a time: all of them, one stage, one layer.

Depends on: torch, prunable (what may be cut together), thinning (who reads what).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import nn

from stillhouse_compression.template.prunable import bundles, stage_numbers
from stillhouse_compression.thinning import channel_units

Scope: TypeAlias = Literal["all", "stage", "layer"]


@dataclass(frozen=True)
class Group:
    """Weights that lose the same structures or none.

    Attributes:
        weights: Parameter names, in model order; several only where an addition couples them.
        stage: Number of the resolution it runs at, from 1 at the highest; 0 for linear layers.
    """

    weights: tuple[str, ...]
    stage: int

    @property
    def is_coupled(self) -> bool:
        """Whether it has several layers."""
        return len(self.weights) > 1

    @property
    def name(self) -> str:
        """The layer; of a coupled group the first, and how many follow."""
        first = self.weights[0].removesuffix(".weight")
        return f"{first}+{len(self.weights) - 1}" if self.is_coupled else first


@dataclass(frozen=True)
class LayerSet:
    """The layers of one trial.

    Attributes:
        name: ``all``, ``stage2``, or a group's name.
        scope: What kind of set it is.
        groups: What is pruned.
    """

    name: str
    scope: Scope
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Prunable:
    """What each domain may prune in one network.

    Attributes:
        element: Every convolution and linear layer, each alone.
        filter: Every layer whose filters may be cut; coupled layers together.
        channel: Every convolution that alone reads what one other layer makes.
    """

    element: tuple[Group, ...]
    filter: tuple[Group, ...]
    channel: tuple[Group, ...]


def prunable(model: nn.Module, input_shape: Sequence[int]) -> Prunable:
    """Sort a network's layers by what may be pruned of them.

    Args:
        model: Unchanged.
        input_shape: (channels, height, width).

    Raises:
        ThinningError: The network cannot be traced.
    """
    stages = stage_numbers(model, input_shape)
    found = bundles(model, input_shape, "layer")

    def group(weights: Sequence[str]) -> Group:
        stage = stages.get(weights[-1].removesuffix(".weight"), 0)
        return Group(tuple(weights), stage)

    singles = {
        name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)
    }
    order = [f"{name}.weight" for name, _ in model.named_modules() if name in singles]
    filters = [bundle.weights for bundle in found if bundle.kind != "linear"]
    free = {weights[0].removesuffix(".weight") for weights in filters if len(weights) == 1}
    readers: dict[str, set[str]] = {}
    for unit in channel_units(model, input_shape):
        if len(unit.layers) == 1 and unit.layers[0] in free and unit.protection is None:
            takers = [slot.module for slot in unit.slots if slot.side == "in"]
            readers.setdefault(unit.layers[0], set()).update(takers)
    alone = {next(iter(takers)) for takers in readers.values() if len(takers) == 1}
    convolutions = {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.groups == 1
    }
    return Prunable(
        element=tuple(group([weight]) for weight in order),
        filter=tuple(
            sorted((group(weights) for weights in filters), key=lambda g: order.index(g.weights[0]))
        ),
        channel=tuple(
            group([weight])
            for weight in order
            if weight.removesuffix(".weight") in alone & convolutions
        ),
    )


def layer_sets(groups: Sequence[Group], wanted: Sequence[str]) -> list[LayerSet]:
    """Give the sets that are asked for.

    Args:
        groups: Of one domain.
        wanted: ``all``; ``stage`` and ``layer`` for each of them in turn; or names of single
            ones, ``stage2`` or ``layer1.0.conv1``.

    Returns:
        Sets that hold something, in the wanted order, none twice.

    Raises:
        KeyError: A name that is none of this domain's.
    """
    stages = sorted({group.stage for group in groups if group.stage})
    by_stage = {
        f"stage{n}": LayerSet(f"stage{n}", "stage", tuple(g for g in groups if g.stage == n))
        for n in stages
    }
    by_layer = {group.name: LayerSet(group.name, "layer", (group,)) for group in groups}
    found: dict[str, LayerSet] = {}
    for name in wanted:
        if name == "all":
            chosen = [LayerSet("all", "all", tuple(groups))] if groups else []
        elif name == "stage":
            chosen = list(by_stage.values())
        elif name == "layer":
            chosen = list(by_layer.values())
        else:
            chosen = [by_stage[name] if name in by_stage else by_layer[name]]
        found |= {one.name: one for one in chosen}
    return list(found.values())
