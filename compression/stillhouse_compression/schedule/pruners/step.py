"""What a pruner sees when it makes masks, and what it gives back.

Depends on: torch, masks, window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from stillhouse_compression.errors import TrainingDiverged
from stillhouse_compression.schedule.masks import MaskTable
from stillhouse_compression.schedule.window import Window

Cuts = Sequence[tuple[int, Tensor]]
"""Thinning of one parameter: for each dimension that was cut, the indices that stayed."""


Kind = Literal["apoz", "mean", "inputs"]


@dataclass(frozen=True)
class Wish:
    """A statistic that somebody needs.

    Attributes:
        parameter: The weight whose layer is watched.
        kind: ``apoz``: share of zeros in each channel of the activation, in percent;
            ``mean``: mean of each channel of the activation; ``inputs``: sampled input
            patches, one row a point.
    """

    parameter: str
    kind: Kind

    @property
    def key(self) -> str:
        """Where the scheduler keeps it."""
        return f"{self.parameter}/{self.kind}"


@dataclass
class PruningStep:
    """One computation of masks.

    Attributes:
        epoch: Current epoch.
        window: The window of the policy that asks.
        model: The network.
        parameters: Its parameters, in its order.
        table: Masks as they stand.
        statistics: Figures of weights as they were first seen, kept over the run.
        activations: Channel statistics of the last epoch: ``"<parameter>/apoz"`` and the like.
        fold: Gives a weight as ranking should see it (``fold_batchnorm``), or None.
        is_pending: Set by a pruner that lacks statistics still to be gathered: it is asked
            again at the next minibatch.
        folded: Parameters whose weights were given folded.
    """

    epoch: int
    window: Window
    model: nn.Module
    parameters: Mapping[str, nn.Parameter]
    table: MaskTable
    statistics: dict[str, float]
    activations: Mapping[str, Tensor] = field(default_factory=dict)
    fold: Callable[[str, Tensor], Tensor] | None = None
    is_pending: bool = False
    folded: set[str] = field(default_factory=set)

    def weight(self, name: str, *, is_folded: bool = True) -> Tensor:
        """A parameter's weights, detached.

        Raises:
            TrainingDiverged: There is a NaN among them.
        """
        weight = self.parameters[name].detach()
        if weight.isnan().any():
            raise TrainingDiverged(
                f"training diverged: {name} has NaN weights in epoch {self.epoch}; "
                "lower the learning rate or prune more slowly"
            )
        if self.fold is None or not is_folded:
            return weight
        folded = self.fold(name, weight)
        if folded is not weight:
            self.folded.add(name)
        return folded

    def first_seen(self, figure: str, name: str, value: float) -> float:
        """A figure of a parameter's weights as it was when first asked for.

        Of weights that were folded it is the present one: folding follows the BatchNorm.

        Args:
            figure: What it is, e.g. ``std``.
            name: The parameter, whose :meth:`weight` was asked for.
            value: What it is now.
        """
        if name in self.folded:
            return value
        return self.statistics.setdefault(f"{figure}/{name}", value)


@dataclass(frozen=True)
class MaskUpdate:
    """A new mask of one parameter.

    Attributes:
        name: The parameter.
        mask: Boolean, of its shape, True = kept.
        scale: Factor of what is kept.
        filters: Boolean (filters,), when the mask keeps or drops whole filters.
        weight: New weights that make up for what was pruned, or None.
    """

    name: str
    mask: Tensor
    scale: float = 1.0
    filters: Tensor | None = None
    weight: Tensor | None = None


class Pruner(Protocol):
    """Chooses which weights to keep. When to ask, and applying, is the policy's business."""

    name: str

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The parameters it masks, in the model's order."""
        ...

    def masks(self, step: PruningStep) -> Iterator[MaskUpdate]:
        """New masks; a parameter left out keeps the mask it has."""
        ...

    def cut(self, cuts: Mapping[str, Cuts]) -> None:
        """Follow a thinning of parameters with what is remembered about them."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to make the same masks."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave."""
        ...


class Stateless:
    """For pruners that remember nothing between masks."""

    def cut(self, cuts: Mapping[str, Cuts]) -> None:
        """Nothing is remembered, nothing is cut."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""
