"""Pruning that takes connections back when they grow again.

Depends on: torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from stillhouse_compression.schedule.arguments import (
    Argument,
    Arguments,
    ClassSpec,
    default,
    given,
    number,
)
from stillhouse_compression.schedule.pruners.step import MaskUpdate, PruningStep, Stateless


class SplicingPruner(Stateless):
    """Prunes below one threshold, restores above a second, leaves what lies between.

    Both are multiples of ``mean + sensitivity * std`` of the magnitudes as they were first
    seen. It needs ``mask_on_forward_only`` (or double copies): a weight that is zeroed for
    good does not grow again.

    Args:
        name: Instance name.
        sensitivities: Parameter name -> sensitivity; ``*`` stands for all others.
        low_thresh_mult: Factor of the threshold to prune below.
        hi_thresh_mult: Factor of the threshold to restore from.
        sensitivity_multiplier: Growth of the sensitivity an epoch.

    Source: Guo et al. 2016, "Dynamic Network Surgery for Efficient DNNs", equation 3.
    """

    def __init__(
        self,
        name: str,
        sensitivities: Mapping[str, float],
        low_thresh_mult: float,
        hi_thresh_mult: float,
        sensitivity_multiplier: float = 0.0,
    ) -> None:
        self.name = name
        self.sensitivities = dict(sensitivities)
        self.low_thresh_mult = low_thresh_mult
        self.hi_thresh_mult = hi_thresh_mult
        self.sensitivity_multiplier = sensitivity_multiplier

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The parameters that have a sensitivity; a single number has no deviation."""
        is_all = "*" in self.sensitivities
        return [
            name
            for name, parameter in parameters.items()
            if (is_all or name in self.sensitivities) and parameter.numel() > 1
        ]

    def masks(self, step: PruningStep) -> Iterator[MaskUpdate]:
        """The masks as they were, with what fell out and what came back."""
        for name in self.owns(step.parameters):
            magnitude = step.weight(name).abs()
            mean = step.first_seen("abs_mean", name, magnitude.mean().item())
            deviation = step.first_seen("abs_std", name, magnitude.std().item())
            sensitivity = self.sensitivities.get(name, self.sensitivities.get("*", 0.0))
            if self.sensitivity_multiplier > 0:
                growth = (step.epoch - step.window.start) * self.sensitivity_multiplier + 1
                sensitivity *= growth
            middle = mean + deviation * sensitivity
            previous = step.table[name].mask
            mask = torch.ones_like(magnitude, dtype=torch.bool) if previous is None else previous
            mask = mask & ~(magnitude < middle * self.low_thresh_mult)
            yield MaskUpdate(name, mask | (magnitude >= middle * self.hi_thresh_mult))


def _faults(arguments: Arguments) -> Iterable[tuple[str, str]]:
    low, high = arguments["low_thresh_mult"], arguments["hi_thresh_mult"]
    if high < low:
        yield "hi_thresh_mult", f"found {high:g}, wanted at least low_thresh_mult ({low:g})"


CLASSES = (
    ClassSpec(
        "SplicingPruner",
        "pruners",
        (
            Argument("sensitivities", number(), names="map", wildcard=True),
            given("low_thresh_mult", number()),
            given("hi_thresh_mult", number()),
            default("sensitivity_multiplier", number(), 0.0),
        ),
        lambda name, args, building: SplicingPruner(name, **args),
        faults=_faults,
    ),
)
