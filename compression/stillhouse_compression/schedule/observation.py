"""Gathers what rankers need to know of activations, while training runs.

Depends on: torch, dataflow, policies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from stillhouse_compression.dataflow import CONVOLUTIONS, following_batchnorms
from stillhouse_compression.schedule.policy import Moment, Policy
from stillhouse_compression.schedule.pruners.step import Kind, Wish

MINIBATCHES = 8
"""Minibatches that are enough to begin with; later epochs rank by the whole epoch before."""
POINTS = 10
"""Output points an image that ``inputs`` samples."""
ROWS = 20_000
"""Sampled rows of ``inputs`` at most."""


@dataclass
class _Running:
    """The running value of one statistic."""

    n_minibatches: int = 0
    mean: Tensor | None = None
    rows: list[Tensor] = field(default_factory=list)

    def add(self, value: Tensor, kind: Kind) -> None:
        self.n_minibatches += 1
        if kind == "inputs":
            if sum(len(rows) for rows in self.rows) < ROWS:
                self.rows.append(value)
        elif self.mean is None or self.mean.shape != value.shape:
            # A thinning changed the channels: start afresh.
            self.mean, self.n_minibatches = value, 1
        else:
            self.mean = self.mean + (value - self.mean) / self.n_minibatches

    def value(self) -> Tensor | None:
        if self.mean is not None:
            return self.mean
        width = {rows.shape[1] for rows in self.rows}
        return torch.cat(self.rows) if len(width) == 1 else None


class ObservationPolicy(Policy):
    """Watches layers in training mode and hands their statistics to the scheduler.

    Statistics of an epoch serve the next. Where there are none yet, those of the first few
    minibatches do.
    """

    def __init__(self, wishes: Iterable[Wish]) -> None:
        self.wishes = tuple(dict.fromkeys(wishes))
        self._running: dict[Wish, _Running] = {}
        self._hooks: list[RemovableHandle] = []

    def on_epoch_begin(self, moment: Moment) -> None:
        """Begin to watch."""
        self._detach()
        self._running = {wish: _Running() for wish in self.wishes}
        modules = dict(moment.model.named_modules())
        batchnorms = following_batchnorms(moment.model)
        for wish in self.wishes:
            if wish.parameter not in moment.parameters:
                continue
            layer = wish.parameter.removesuffix(".weight")
            hook: Callable[..., None]
            if wish.kind == "inputs":
                watched, hook = layer, self._watch_inputs(wish)
            else:
                watched, has_relu = activation_of(layer, modules, batchnorms)
                hook = self._watch_output(wish, has_relu)
            self._hooks.append(modules[watched].register_forward_hook(hook))

    def on_minibatch_begin(self, moment: Moment) -> None:
        """Hand over what there is, where nothing was handed over before."""
        enough = min(MINIBATCHES, max(1, moment.n_minibatches - 1))
        for wish, running in self._running.items():
            if wish.key not in moment.scheduler.activations and running.n_minibatches >= enough:
                self._publish(wish, running, moment)

    def on_epoch_end(self, moment: Moment) -> None:
        """Stop watching and hand the epoch's statistics over."""
        self._detach()
        for wish, running in self._running.items():
            self._publish(wish, running, moment)

    def _publish(self, wish: Wish, running: _Running, moment: Moment) -> None:
        value = running.value()
        if value is not None:
            moment.scheduler.activations[wish.key] = value

    def _detach(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def _watch_output(self, wish: Wish, has_relu: bool) -> Callable[..., None]:
        @torch.no_grad()
        def watch(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if module.training:
                active = output.detach() if has_relu else output.detach().relu()
                dims = [dim for dim in range(active.dim()) if dim != 1]
                if wish.kind == "apoz":
                    value = (active == 0).float().mean(dim=dims) * 100.0
                else:
                    value = active.mean(dim=dims)
                self._running[wish].add(value, wish.kind)

        return watch

    def _watch_inputs(self, wish: Wish) -> Callable[..., None]:
        @torch.no_grad()
        def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if module.training:
                self._running[wish].add(patches(module, inputs[0].detach()), wish.kind)

        return watch


def activation_of(
    layer: str, modules: dict[str, nn.Module], batchnorms: dict[str, tuple[str, ...]]
) -> tuple[str, bool]:
    """The module whose output is the activation of a convolution.

    Returns:
        Its name, and whether that output has passed a ReLU. ``layer1.0.conv1`` is activated by
        ``layer1.0.relu1`` where there is such a module; otherwise its BatchNorm, or itself,
        is watched and the ReLU is applied to what is seen.
    """
    head, _, tail = layer.rpartition(".")
    named = f"{head}.{tail.replace('conv', 'relu')}" if head else tail.replace("conv", "relu")
    if named != layer and isinstance(modules.get(named), nn.ReLU | nn.ReLU6):
        return named, True
    behind = batchnorms.get(layer, ())
    return (behind[0], False) if len(behind) == 1 else (layer, False)


def patches(module: nn.Module, x: Tensor) -> Tensor:
    """What a layer sees at randomly drawn output points.

    Args:
        module: A linear layer, or an ungrouped 2-D convolution with numeric padding.
        x: Its input.

    Returns:
        (rows, columns): columns as in the flattened weight.
    """
    if isinstance(module, nn.Linear):
        return x.reshape(-1, x.shape[-1])
    assert isinstance(module, nn.Conv2d) and not isinstance(module.padding, str)
    columns = functional.unfold(
        x, module.kernel_size, module.dilation, module.padding, module.stride
    )  # (batch, channels * kernel, points)
    drawn = np.random.randint(0, columns.shape[2], POINTS)
    return columns[:, :, torch.from_numpy(drawn).to(x.device)].transpose(1, 2).flatten(0, 1)


def can_be_sampled(module: nn.Module | None) -> bool:
    """Whether :func:`patches` knows the layer."""
    if isinstance(module, nn.Linear):
        return True
    is_plain = isinstance(module, CONVOLUTIONS) and module.groups == 1
    return is_plain and isinstance(module, nn.Conv2d) and not isinstance(module.padding, str)
