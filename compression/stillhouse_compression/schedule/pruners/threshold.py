"""Element-wise pruning below a threshold: fixed, or a multiple of the weights' spread.

Depends on: torch, selection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import nn

from stillhouse_compression.schedule.arguments import Argument, Arguments, ClassSpec, number
from stillhouse_compression.schedule.pruners.step import MaskUpdate, PruningStep, Stateless
from stillhouse_compression.schedule.selection import keep_above


class MagnitudeParameterPruner(Stateless):
    """Prunes what is not larger in magnitude than a threshold.

    Args:
        name: Instance name.
        thresholds: Parameter name -> threshold; ``*`` must be there and stands for all others,
            so every parameter gets a mask.
    """

    def __init__(self, name: str, thresholds: Mapping[str, float]) -> None:
        self.name = name
        self.thresholds = dict(thresholds)

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """Every parameter."""
        return list(parameters)

    def masks(self, step: PruningStep) -> Iterator[MaskUpdate]:
        """Masks of what is above the thresholds."""
        for name in step.parameters:
            threshold = self.thresholds.get(name, self.thresholds["*"])
            yield MaskUpdate(name, keep_above(step.weight(name), threshold))


class SensitivityPruner(Stateless):
    """Prunes what is not larger in magnitude than a multiple of the standard deviation.

    The deviation (unbiased, of the whole tensor) is that of the weights as any such pruner
    first saw them.

    Args:
        name: Instance name.
        sensitivities: Parameter name -> multiple; ``*`` stands for all others.

    Source: Han et al. 2015, "Learning both Weights and Connections for Efficient Neural
    Networks", section 3.1.
    """

    def __init__(self, name: str, sensitivities: Mapping[str, float]) -> None:
        self.name = name
        self.sensitivities = dict(sensitivities)

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The parameters that have a sensitivity; a single number has no deviation."""
        is_all = "*" in self.sensitivities
        return [
            name
            for name, parameter in parameters.items()
            if (is_all or name in self.sensitivities) and parameter.numel() > 1
        ]

    def masks(self, step: PruningStep) -> Iterator[MaskUpdate]:
        """Masks of what is above the thresholds."""
        for name in self.owns(step.parameters):
            weight = step.weight(name)
            deviation = step.first_seen("std", name, weight.std().item())
            sensitivity = self.sensitivities.get(name, self.sensitivities.get("*", 0.0))
            yield MaskUpdate(name, keep_above(weight, deviation * sensitivity))


def _needs_star(arguments: Arguments) -> Iterable[tuple[str, str]]:
    if "*" not in arguments["thresholds"]:
        yield "thresholds", "needs the key '*', the threshold of all parameters not named"


CLASSES = (
    ClassSpec(
        "MagnitudeParameterPruner",
        "pruners",
        (Argument("thresholds", number(), names="map", wildcard=True),),
        lambda name, args, building: MagnitudeParameterPruner(name, args["thresholds"]),
        faults=_needs_star,
    ),
    ClassSpec(
        "SensitivityPruner",
        "pruners",
        (Argument("sensitivities", number(), names="map", wildcard=True),),
        lambda name, args, building: SensitivityPruner(name, args["sensitivities"]),
    ),
)
