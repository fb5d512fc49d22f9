"""What a policy is: the points of training at which it may act, and what it sees there.

Depends on: torch, masks, window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from stillhouse_compression.schedule.masks import MaskTable
from stillhouse_compression.schedule.window import Window

if TYPE_CHECKING:
    from stillhouse_compression.schedule.scheduler import CompressionScheduler


class LossComponent(NamedTuple):
    """A term that a policy added to the loss."""

    name: str
    value: Tensor


class PolicyLoss(NamedTuple):
    """The loss as the policies left it.

    It also answers to ``backward``, ``item`` and ``detach``, so that a training loop may
    treat it as the loss itself.
    """

    overall_loss: Tensor
    loss_components: list[LossComponent]

    def backward(self) -> None:
        """Back-propagate the overall loss."""
        self.overall_loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it bare

    def item(self) -> float:
        """The overall loss as a number."""
        return float(self.overall_loss.item())

    def detach(self) -> Tensor:
        """The overall loss without its graph."""
        return self.overall_loss.detach()


@dataclass
class Moment:
    """Where training stands when a policy is called.

    Attributes:
        scheduler: The scheduler that calls.
        model: The network.
        parameters: Its parameters as they are now: thinning replaces them.
        table: Their masks.
        window: The policy's window.
        epoch: Current epoch.
        minibatch: Current minibatch of the epoch, from 0.
        n_minibatches: Minibatches an epoch.
        optimizer: The optimizer, where the caller gave it.
        metrics: ``{"min": loss, "max": top1}`` of the validation, at the end of an epoch.
    """

    scheduler: CompressionScheduler
    model: nn.Module
    parameters: Mapping[str, nn.Parameter]
    table: MaskTable
    window: Window
    epoch: int
    minibatch: int = 0
    n_minibatches: int = 0
    optimizer: Optimizer | None = None
    metrics: Mapping[str, float] | None = None

    @property
    def is_last_epoch(self) -> bool:
        """Whether the policy acts for the last time."""
        return self.epoch == self.window.last_active

    @property
    def is_last_minibatch(self) -> bool:
        """Whether this is the epoch's last minibatch."""
        return self.minibatch == self.n_minibatches - 1


class Policy:
    """The points of training at which a policy may act; each does nothing unless it says so.

    Attributes:
        replaces_parameters: Whether it may put other parameters into the network, as thinning
            does.
    """

    replaces_parameters = False

    def on_epoch_begin(self, moment: Moment) -> None:
        """Before the first minibatch of an epoch."""

    def on_minibatch_begin(self, moment: Moment) -> None:
        """Before the forward pass."""

    def before_forward(self, moment: Moment) -> None:
        """After every policy's ``on_minibatch_begin``: what thinning must not see."""

    def before_backward_pass(self, moment: Moment, loss: Tensor) -> PolicyLoss | None:
        """After the loss: returns another loss, or None to leave it."""
        return None

    def before_parameter_optimization(self, moment: Moment) -> None:
        """After the backward pass, before the optimizer's step."""

    def on_minibatch_end(self, moment: Moment) -> None:
        """After the optimizer's step."""

    def on_epoch_end(self, moment: Moment) -> None:
        """After the epoch's validation."""

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
