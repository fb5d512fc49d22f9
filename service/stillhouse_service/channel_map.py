"""Where a network's channels go: which layers share them, which layers read them, what they cost.

Depends on: stillhouse_compression. Reads a dense network once; everything after is plain numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from stillhouse_compression import datasets, models
from stillhouse_compression.layers import layer_table
from stillhouse_compression.thinning import channel_units
from stillhouse_compression.thinning.graph import groups_of


@dataclass(frozen=True)
class Group:
    """Layers whose filters can only be cut together.

    Attributes:
        layers: Module paths, one or more.
        n_channels: Filters of each of them.
        is_cuttable: Whether thinning may cut any (the network's outputs stay).
    """

    layers: tuple[str, ...]
    n_channels: int
    is_cuttable: bool


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer.

    Attributes:
        name: Module path.
        n_filters: Its filters.
        macs: Multiply-accumulates of one image.
        params: Weights and biases.
        group: Position of the group that its filters belong to; None: nobody can cut them.
        reads: Position of a group -> share of this layer's input that comes from it, 0..1.
    """

    name: str
    n_filters: int
    macs: int
    params: int
    group: int | None
    reads: Mapping[int, float]


@dataclass(frozen=True)
class ChannelMap:
    """A network's layers and the groups their channels fall into."""

    groups: tuple[Group, ...]
    layers: tuple[Layer, ...]


@lru_cache(maxsize=16)
def channel_map(model: str, dataset: str) -> ChannelMap:
    """Read a dense network.

    Raises:
        CompressionError: It is not known, or cannot be followed.
    """
    info = datasets.dataset_info(dataset)
    network = models.build(model, info.n_classes)
    units = channel_units(network, info.shape)
    rows = {row.layer: row for row in layer_table(network, info.shape)}
    names = groups_of(network, units)
    position = {layer: g for g, layers in enumerate(names) for layer in layers}
    protected = {position[layer] for unit in units if unit.protection for layer in unit.layers}
    inputs: dict[str, Counter[int]] = {name: Counter() for name in rows}
    for unit in units:
        for slot in unit.slots:
            if slot.side == "in" and slot.module in inputs and unit.layers:
                inputs[slot.module][position[unit.layers[0]]] += 1
    return ChannelMap(
        groups=tuple(
            Group(layers, rows[layers[0]].shape[0], g not in protected)
            for g, layers in enumerate(names)
        ),
        layers=tuple(
            Layer(
                name,
                row.shape[0],
                row.macs,
                row.params,
                position.get(name),
                {g: n / row.shape[1] for g, n in inputs[name].items()},
            )
            for name, row in rows.items()
        ),
    )
