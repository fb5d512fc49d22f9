"""Which attributes of a module follow from the shapes of its tensors.

Depends on: torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from stillhouse_compression.errors import CompressionError


def is_depthwise(module: nn.Module) -> bool:
    """Whether each channel is filtered alone: one input and one output channel a group."""
    return (
        isinstance(module, _ConvNd)
        and module.groups > 1
        and module.groups == module.in_channels == module.out_channels
    )


def describe_shapes(module: nn.Module, was_depthwise: bool) -> None:
    """Set a module's channel counts from its weight's shape, after the weight was replaced.

    Args:
        module: Convolution, linear, BatchNorm, GroupNorm or PReLU; others stay as they are.
        was_depthwise: Before its weight shrank; its groups follow its filters then.
    """
    weight = getattr(module, "weight", None)
    if isinstance(module, _ConvNd):
        assert isinstance(weight, Tensor)
        first, second = weight.shape[0], weight.shape[1]
        if was_depthwise:
            module.groups = first
        if module.transposed:
            module.in_channels, module.out_channels = first, second * module.groups
        else:
            module.out_channels, module.in_channels = first, second * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, _BatchNorm):
        kept = module.running_mean if module.running_mean is not None else weight
        if isinstance(kept, Tensor):
            module.num_features = kept.shape[0]
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.shape[0]


@torch.no_grad()
def fit_shapes(model: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Shrink a dense network's tensors to the shapes of a thinned one's; values mean nothing then.

    Args:
        model: Changed in place where a shape differs.
        shapes: Parameter or buffer name -> shape wanted.

    Raises:
        CompressionError: A shape has other dimensions or is larger than the dense one.
    """
    for path, module in model.named_modules():
        was_depthwise = is_depthwise(module)
        has_changed = False
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in own:
            full = f"{path}.{name}" if path else name
            wanted = shapes.get(full, tuple(tensor.shape))
            if wanted == tuple(tensor.shape):
                continue
            if len(wanted) != tensor.dim() or any(
                new > old for new, old in zip(wanted, tensor.shape, strict=True)
            ):
                raise CompressionError(
                    f"{full} has shape {wanted} in the weights and {tuple(tensor.shape)} in the "
                    "network; they do not belong together"
                )
            cut = tensor[tuple(slice(size) for size in wanted)].clone()
            is_parameter = isinstance(tensor, nn.Parameter)
            setattr(module, name, nn.Parameter(cut) if is_parameter else cut)
            has_changed = True
        if has_changed:
            describe_shapes(module, was_depthwise)
