"""Group lasso: drives whole groups of weights to zero.

Depends on: torch, groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from stillhouse_compression.schedule.arguments import (
    Argument,
    Arguments,
    ClassSpec,
    choice,
    default,
    number,
    optional,
    tuple_of,
)
from stillhouse_compression.schedule.groups import SPANS, keep_groups
from stillhouse_compression.schedule.pruners.threshold_structures import group_fits

GROUP_TYPES = (*SPANS, "Rows+Cols", "Cols+Rows")
BOTH = ("Rows+Cols", "Cols+Rows")
EPSILON = 1e-8
"""Under the root of channel norms, as in the original."""


class GroupLassoRegularizer:
    """Adds ``strength * sum over groups of ||group||_2``, without a factor of the group's size.

    The same number is the strength of the penalty and the threshold below which groups are
    zeroed.

    Args:
        name: Instance name.
        reg_regims: Parameter name -> (strength, group type).
        threshold_criteria: ``Max`` or ``Mean_Abs`` of a group's magnitudes; None: no threshold.

    Source: Wen et al. 2016, "Learning Structured Sparsity in Deep Neural Networks", equation 2.
    """

    def __init__(
        self,
        name: str,
        reg_regims: Mapping[str, tuple[float, str]],
        threshold_criteria: str | None = None,
    ) -> None:
        self.name = name
        self.reg_regims = dict(reg_regims)
        self.threshold_criteria = threshold_criteria
        self.has_threshold = threshold_criteria is not None

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The listed parameters."""
        return [name for name in parameters if name in self.reg_regims]

    def loss(self, name: str, parameter: Tensor) -> Tensor:
        """The term of one parameter."""
        strength, group_type = self.reg_regims[name]
        return group_norms(parameter, group_type) * strength

    def threshold(self, name: str, parameter: Tensor) -> Tensor | None:
        """Mask of the groups above the strength; None for a whole tensor that stays."""
        strength, group_type = self.reg_regims[name]
        mask = keep_groups(parameter, group_type, strength, str(self.threshold_criteria))
        return None if group_type == "4D" and bool(mask.all()) else mask


def group_norms(weight: Tensor, group_type: str) -> Tensor:
    """Sum of the groups' L2 norms; its gradient at a group of zeros is 0."""
    if group_type in BOTH:
        return group_norms(weight, "Rows") + group_norms(weight, "Cols")
    if group_type == "Channels":
        return channel_norms(weight).sum()
    norms: Tensor = torch.linalg.vector_norm(weight, 2, dim=SPANS[group_type])
    return norms.sum()


def channel_norms(weight: Tensor) -> Tensor:
    """L2 norm of every input channel, (channels,)."""
    return (weight.square().sum(dim=SPANS["Channels"]) + EPSILON).sqrt()


def _faults(arguments: Arguments) -> Iterable[tuple[str, str]]:
    if arguments["threshold_criteria"] is None:
        return
    for name, (_, group_type) in arguments["reg_regims"].items():
        if group_type in BOTH:
            message = "Rows+Cols overlap and cannot be thresholded; take Rows or Cols"
            yield f"reg_regims.{name}", message


CLASSES = (
    ClassSpec(
        "GroupLassoRegularizer",
        "regularizers",
        (
            Argument("reg_regims", tuple_of(number(0.0), choice(*GROUP_TYPES)), names="map"),
            default("threshold_criteria", optional(choice("Max", "Mean_Abs")), None),
        ),
        lambda name, args, building: GroupLassoRegularizer(name, **args),
        faults=_faults,
        fits=group_fits,
    ),
)
