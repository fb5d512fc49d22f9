"""A network's convolution and linear layers: shapes, parameters, multiply-accumulates.

Depends on: torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stillhouse_compression.errors import CompressionError
from stillhouse_compression.modes import evaluating

COMPUTING = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear)


@dataclass(frozen=True)
class LayerRow:
    """One convolution or linear layer.

    Attributes:
        layer: Module path, e.g. ``layer1.0.conv1``.
        type: ``Conv2d``, ``Linear``, ...
        dense_shape: Weight's shape before compression.
        shape: Weight's shape now.
        params: Weights and biases now.
        n_zero: Weights that are exactly zero now (biases not counted).
        sparsity: ``n_zero`` as a share of the weights, 0..1.
        dense_macs: Multiply-accumulates of one image before compression.
        macs: Multiply-accumulates now; zeros that were not cut count in full.
    """

    layer: str
    type: str
    dense_shape: tuple[int, ...]
    shape: tuple[int, ...]
    params: int
    n_zero: int
    sparsity: float
    dense_macs: int
    macs: int

    def to_json(self) -> dict[str, Any]:
        """The row as plain JSON data."""
        return asdict(self) | {"dense_shape": list(self.dense_shape), "shape": list(self.shape)}


def layer_macs(model: nn.Module, input_shape: Sequence[int]) -> dict[str, int]:
    """Count the multiply-accumulates of each layer for one image.

    Convolution: output elements x kernel elements x input channels / groups; linear: in x out for
    each position; biases, BatchNorm and activations are not counted. A layer that runs twice
    counts twice.

    Args:
        model: Not changed.
        input_shape: (channels, height, width).

    Returns:
        Module path -> MACs, in execution order.

    Source: Distiller's convention.
    """
    macs: dict[str, int] = {}
    handles = []

    def count(name: str) -> Any:
        def hook(module: nn.Module, _: object, output: Tensor) -> None:
            weight = module.weight
            assert isinstance(weight, Tensor)
            if isinstance(module, nn.ConvTranspose2d):
                per_output = weight.numel() // weight.shape[1]
            else:
                per_output = weight.numel() // weight.shape[0]
            macs[name] = macs.get(name, 0) + output.numel() * per_output

        return hook

    for name, module in model.named_modules():
        if isinstance(module, COMPUTING):
            handles.append(module.register_forward_hook(count(name)))
    try:
        with evaluating(model), torch.no_grad():
            model(example_input(model, input_shape))
    finally:
        for handle in handles:
            handle.remove()
    return macs


def total_macs(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Multiply-accumulates of one image in all convolution and linear layers."""
    return sum(layer_macs(model, input_shape).values())


def count_params(model: nn.Module) -> int:
    """Trainable numbers of a network, BatchNorm's included, each shared one once."""
    return sum(parameter.numel() for parameter in model.parameters())


def weight_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Weight's shape of each convolution and linear layer, by module path, in model order."""
    return {
        name: tuple(module.weight.shape)
        for name, module in model.named_modules()
        if isinstance(module, COMPUTING)
    }


def layer_table(
    model: nn.Module,
    input_shape: Sequence[int],
    dense_shapes: Mapping[str, tuple[int, ...]] | None = None,
    dense_macs: Mapping[str, int] | None = None,
) -> list[LayerRow]:
    """Describe every convolution and linear layer.

    Args:
        model: Not changed.
        input_shape: (channels, height, width).
        dense_shapes: `weight_shapes` before compression; None: as now.
        dense_macs: `layer_macs` before compression; None: as now.

    Returns:
        One row a layer, in model order.
    """
    macs = layer_macs(model, input_shape)
    rows = []
    for name, module in model.named_modules():
        if not isinstance(module, COMPUTING):
            continue
        weight = module.weight.detach()
        n_zero = weight.numel() - int(torch.count_nonzero(weight))
        shape = tuple(weight.shape)
        now = macs.get(name, 0)
        rows.append(
            LayerRow(
                layer=name,
                type=type(module).__name__,
                dense_shape=shape if dense_shapes is None else dense_shapes[name],
                shape=shape,
                params=sum(parameter.numel() for parameter in module.parameters()),
                n_zero=n_zero,
                sparsity=n_zero / math.prod(shape),
                dense_macs=now if dense_macs is None else dense_macs.get(name, 0),
                macs=now,
            )
        )
    return rows


def check_input(model: nn.Module, input_shape: Sequence[int], n_classes: int) -> None:
    """Refuse images that a network cannot take, before anything is trained.

    Args:
        model: Run once, in evaluation mode; unchanged.
        input_shape: (channels, height, width) of the images.
        n_classes: Classes of the images.

    Raises:
        CompressionError: It does not run on them, or has fewer outputs than there are classes.
    """
    shape = "x".join(str(size) for size in input_shape)
    try:
        with evaluating(model), torch.no_grad():
            output = model(example_input(model, input_shape))
    except (RuntimeError, ValueError) as error:
        raise CompressionError(
            f"the network does not take images of {shape}: {str(error).splitlines()[0]}"
        ) from error
    if output.dim() != 2 or output.shape[1] < n_classes:
        raise CompressionError(
            f"the data set has {n_classes} classes, the network only {output.shape[-1]} outputs"
        )


def example_input(model: nn.Module, input_shape: Sequence[int], n: int = 1) -> Tensor:
    """Make a seeded random batch (n, channels, height, width) where the network's weights are."""
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(n, *input_shape, generator=generator)
    first = next(model.parameters(), None)
    return batch if first is None else batch.to(device=first.device, dtype=first.dtype)
