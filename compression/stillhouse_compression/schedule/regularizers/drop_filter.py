"""DropFilter: now and then a minibatch trains without some filters.

Depends on: torch, numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stillhouse_compression.schedule.arguments import (
    Argument,
    Arguments,
    ClassSpec,
    default,
    integer,
    number,
)
from stillhouse_compression.schedule.masks import filter_mask
from stillhouse_compression.schedule.policy import Moment

LEAST_KEPT = 0.2
"""What is kept is scaled up as if at least this share of the L1 norm were left."""


class DropFilterRegularizer:
    """Drops filters at random in every ``frequency``-th minibatch, for that minibatch only.

    What is kept is divided by the share of the L1 norm that is left. The weights themselves
    come back before the optimizer's step; gradients flow through what was kept.

    Args:
        name: Instance name.
        reg_regims: Parameter name -> probability of dropping a filter, in [0, 1).
        frequency: Minibatches from one drop to the next.

    Source: Pan et al. 2018, "DropFilter: A Novel Regularization Method for Learning
    Convolutional Neural Networks", section 3.
    """

    has_threshold = False
    is_random = True

    def __init__(self, name: str, reg_regims: Mapping[str, float], frequency: int = 16) -> None:
        self.name = name
        self.reg_regims = dict(reg_regims)
        self.frequency = frequency
        self._n_minibatches = 0
        self._dropped: dict[str, tuple[Tensor, Tensor]] = {}

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The listed parameters."""
        return [name for name in parameters if name in self.reg_regims]

    def loss(self, name: str, parameter: Tensor) -> Tensor:
        """It adds nothing to the loss."""
        return parameter.new_zeros(())

    def threshold(self, name: str, parameter: Tensor) -> Tensor | None:
        """It has none."""
        return None

    @torch.no_grad()
    def before_forward(self, moment: Moment) -> None:
        """Drop filters, if it is time."""
        self._n_minibatches += 1
        if self._n_minibatches % self.frequency:
            return
        for name in self.owns(moment.parameters):
            parameter = moment.parameters[name]
            drawn = np.random.binomial(1, 1.0 - self.reg_regims[name], parameter.shape[0])
            keep = filter_mask(torch.from_numpy(drawn).bool().to(parameter.device), parameter.shape)
            norm = parameter.abs().sum()
            if norm == 0:
                continue
            share = max(LEAST_KEPT, float((parameter * keep).abs().sum() / norm))
            factor = keep.to(parameter.dtype) / share
            self._dropped[name] = (parameter.detach().clone(), factor)
            parameter.mul_(factor)

    @torch.no_grad()
    def after_backward(self, moment: Moment) -> None:
        """Bring the weights back; the gradient passes through the same factors."""
        for name, (weight, factor) in self._dropped.items():
            parameter = moment.parameters[name]
            parameter.copy_(weight)
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        self._dropped = {}

    def state_dict(self) -> dict[str, Any]:
        """Where it stands between two drops."""
        return {"n_minibatches": self._n_minibatches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it over."""
        self._n_minibatches = int(state["n_minibatches"])


def _fits(arguments: Arguments, shapes: Any) -> Any:
    for name in arguments["reg_regims"]:
        if len(shapes[name]) not in (3, 4, 5):
            shape = tuple(shapes[name])
            yield f"reg_regims.{name}", f"{name} has shape {shape}; filters need a convolution"


CLASSES = (
    ClassSpec(
        "DropFilterRegularizer",
        "regularizers",
        (
            Argument("reg_regims", number(0.0, 0.99), names="map"),
            default("frequency", integer(1), 16),
        ),
        lambda name, args, building: DropFilterRegularizer(name, **args),
        fits=_fits,
    ),
)
