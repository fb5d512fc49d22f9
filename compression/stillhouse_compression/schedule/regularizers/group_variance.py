"""Group variance: drives the norms of channels apart, so that the weak ones may go.

Depends on: torch, groups.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from stillhouse_compression.schedule.arguments import Argument, ClassSpec, choice, number, tuple_of
from stillhouse_compression.schedule.pruners.threshold_structures import group_fits
from stillhouse_compression.schedule.regularizers.group_lasso import channel_norms


class GroupVarianceRegularizer:
    """Adds ``strength / variance of the channels' L2 norms`` (unbiased).

    Args:
        name: Instance name.
        reg_regims: Parameter name -> (strength, ``Channels``).

    Source: Torfi et al. 2018, "Attention-based guided structured sparsity of deep neural
    networks", section 2.
    """

    has_threshold = False

    def __init__(self, name: str, reg_regims: Mapping[str, tuple[float, str]]) -> None:
        self.name = name
        self.reg_regims = dict(reg_regims)

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The listed parameters."""
        return [name for name in parameters if name in self.reg_regims]

    def loss(self, name: str, parameter: Tensor) -> Tensor:
        """The term of one parameter."""
        return self.reg_regims[name][0] / channel_norms(parameter).var()

    def threshold(self, name: str, parameter: Tensor) -> Tensor | None:
        """It has none."""
        return None


CLASSES = (
    ClassSpec(
        "GroupVarianceRegularizer",
        "regularizers",
        (Argument("reg_regims", tuple_of(number(0.0), choice("Channels")), names="map"),),
        lambda name, args, building: GroupVarianceRegularizer(name, **args),
        fits=group_fits,
    ),
)
