"""L1 penalty on single weights.

Depends on: torch.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from stillhouse_compression.schedule.arguments import Argument, ClassSpec, anything, default, number
from stillhouse_compression.schedule.selection import keep_above


class L1Regularizer:
    """Adds ``strength * sum(|w|)``; with a threshold, zeroes what is not above the strength.

    Args:
        name: Instance name.
        reg_regims: Parameter name -> strength.
        threshold_criteria: Any value turns the threshold on.
    """

    def __init__(
        self, name: str, reg_regims: Mapping[str, float], threshold_criteria: object = None
    ) -> None:
        self.name = name
        self.reg_regims = dict(reg_regims)
        self.has_threshold = threshold_criteria is not None

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The listed parameters."""
        return [name for name in parameters if name in self.reg_regims]

    def loss(self, name: str, parameter: Tensor) -> Tensor:
        """The term of one parameter."""
        return parameter.abs().sum() * self.reg_regims[name]

    def threshold(self, name: str, parameter: Tensor) -> Tensor | None:
        """Mask of what is above the strength."""
        return keep_above(parameter.detach(), self.reg_regims[name])


CLASSES = (
    ClassSpec(
        "L1Regularizer",
        "regularizers",
        (
            Argument("reg_regims", number(0.0), names="map"),
            default("threshold_criteria", anything, None),
        ),
        lambda name, args, building: L1Regularizer(name, **args),
    ),
)
