"""What a network is made of: depth, parameters, multiply-accumulates and its layers.

Depends on: torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from stillhouse_compression import models
from stillhouse_compression.layers import (
    LayerRow,
    check_input,
    count_params,
    example_input,
    layer_table,
)
from stillhouse_compression.modes import evaluating

# Autograd's names of what convolutions and linear layers compute.
_COMPUTING = ("Convolution", "ConvolutionOverrideable", "Addmm", "Mm", "Linear", "Bmm")


@dataclass(frozen=True)
class Description:
    """One network with its sizes.

    Attributes:
        name: Its name in the registry.
        description: One sentence.
        input_shape: (channels, height, width).
        n_classes: Outputs.
        depth: Convolution and linear layers on the longest way from the images to the logits;
            projections along shortcuts do not lengthen it.
        params: Trainable numbers, BatchNorm's included.
        macs: Multiply-accumulates of one image in convolution and linear layers.
        layers: Each of them, in model order.
    """

    name: str
    description: str
    input_shape: tuple[int, int, int]
    n_classes: int
    depth: int
    params: int
    macs: int
    layers: tuple[LayerRow, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "name": self.name,
            "description": self.description,
            "input_shape": list(self.input_shape),
            "n_classes": self.n_classes,
            "depth": self.depth,
            "params": self.params,
            "macs": self.macs,
            "layers": [
                {
                    "layer": row.layer,
                    "type": row.type,
                    "shape": list(row.shape),
                    "params": row.params,
                    "macs": row.macs,
                }
                for row in self.layers
            ],
        }


def describe(name: str, n_classes: int | None = None) -> Description:
    """Build a network with fresh weights and measure it.

    Args:
        name: A network of the registry.
        n_classes: Outputs; None takes the network's default.

    Raises:
        CompressionError: No such network, or it does not take the images it says it takes.
    """
    info = models.model_info(name)
    n_outputs = info.n_classes_default if n_classes is None else n_classes
    model = models.build(name, n_outputs)
    check_input(model, info.input_shape, n_outputs)
    rows = layer_table(model, info.input_shape)
    return Description(
        name=name,
        description=info.description,
        input_shape=info.input_shape,
        n_classes=n_outputs,
        depth=depth(model, info.input_shape),
        params=count_params(model),
        macs=sum(row.macs for row in rows),
        layers=tuple(rows),
    )


def depth(model: nn.Module, input_shape: tuple[int, int, int]) -> int:
    """Count the convolution and linear layers on the longest way through a network.

    Args:
        model: Run once, in evaluation mode; unchanged.
        input_shape: (channels, height, width).
    """
    with evaluating(model), torch.enable_grad():
        image = example_input(model, input_shape).requires_grad_()
        end = model(image).grad_fn
    longest: dict[Any, int] = {}
    waiting = [end]
    while waiting:  # no recursion: a graph may be thousands of nodes deep
        node = waiting[-1]
        before = [one for one, _ in node.next_functions if one is not None]
        missing = [one for one in before if one not in longest]
        if missing:
            waiting += missing
            continue
        waiting.pop()
        is_counted = node.name().removesuffix("Backward0") in _COMPUTING
        longest[node] = max((longest[one] for one in before), default=0) + is_counted
    return longest[end]
