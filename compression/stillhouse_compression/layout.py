"""How images lie in memory while a network trains or is judged: channels last where that works.

Depends on: torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from stillhouse_compression.modes import evaluating

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@torch.no_grad()
def fastest_layout(model: nn.Module, image: Tensor) -> torch.memory_format:
    """Choose the layout of a network's batches.

    Channels last is a sixth to a third faster on an AVX2 CPU, and what a GPU's tensor cores want.
    A network that calls ``view`` on what it cannot view in that layout gets the plain one.

    Args:
        model: Run once, in evaluation mode; unchanged.
        image: (1, channels, height, width), where the network is.
    """
    try:
        with evaluating(model), layout_kept(model):
            model(image.contiguous(memory_format=torch.channels_last))
    except (RuntimeError, ValueError):
        return torch.contiguous_format
    return torch.channels_last


@contextmanager
def layout_kept(model: nn.Module) -> Iterator[None]:
    """Let a network compute on channels-last batches without torch's errors in that layout.

    On the CPU, torch 2.13's kernels of a strided 1x1 convolution (oneDNN's) write beyond their
    memory or give wrong gradients with channels last, mostly with fewer than 8 input channels;
    thinned shortcuts are such convolutions. They, and no others, get plain images; what they give
    is channels last again.

    Args:
        model: Nothing stays on it afterwards.
    """
    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, _CONVOLUTIONS) and _is_strided_point(module):
                stack.callback(module.register_forward_pre_hook(_enter_plain).remove)
                stack.callback(module.register_forward_hook(_leave_channels_last).remove)
        yield


def with_fast_weights(model: nn.Module) -> nn.Module:
    """Put a network's convolution weights on CUDA into channels last, in place; others stay."""
    first = next(model.parameters(), None)
    if first is None or first.device.type != "cuda":
        return model
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]  # not in torch's stub


def to_cpu(model: nn.Module) -> None:
    """Bring a network home, in place, its weights in the plain layout."""
    model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as above


def _is_strided_point(module: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    return max(module.kernel_size) == 1 and max(module.stride) > 1


def _enter_plain(module: nn.Conv2d, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    x, *others = inputs
    if x.device.type != "cpu":
        return inputs
    if module.weight.stride(3) != 1:  # channels last by its strides, though the order is the same
        module.weight.data = module.weight.detach().clone(memory_format=torch.contiguous_format)
    # A 1x1 image has both layouts at once; its strides choose the kernel. A copy's are plain.
    return (x.clone(memory_format=torch.contiguous_format), *others)


def _leave_channels_last(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    if output.device.type != "cpu":
        return output
    return output.contiguous(memory_format=torch.channels_last)
