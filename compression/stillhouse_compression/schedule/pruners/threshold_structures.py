"""Pruning of groups below a fixed threshold.

Depends on: torch, groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import nn

from stillhouse_compression.schedule.arguments import (
    Argument,
    Arguments,
    ClassSpec,
    Shapes,
    choice,
    given,
    number,
    tuple_of,
)
from stillhouse_compression.schedule.groups import group_fault, keep_groups
from stillhouse_compression.schedule.pruners.step import MaskUpdate, PruningStep, Stateless

GROUP_TYPES = ("2D", "3D", "Filters", "Channels", "Rows", "Cols")


class StructureParameterPruner(Stateless):
    """Prunes whole groups whose score is not above a threshold.

    Args:
        name: Instance name.
        reg_regims: Parameter name -> (threshold, group type).
        threshold_criteria: ``Max`` or ``Mean_Abs`` of the group's magnitudes.
    """

    def __init__(
        self, name: str, reg_regims: Mapping[str, tuple[float, str]], threshold_criteria: str
    ) -> None:
        self.name = name
        self.reg_regims = dict(reg_regims)
        self.threshold_criteria = threshold_criteria

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The listed parameters."""
        return [name for name in parameters if name in self.reg_regims]

    def masks(self, step: PruningStep) -> Iterator[MaskUpdate]:
        """Masks of the groups above their thresholds."""
        for name in self.owns(step.parameters):
            threshold, group_type = self.reg_regims[name]
            mask = keep_groups(step.weight(name), group_type, threshold, self.threshold_criteria)
            filters = mask[:, 0, 0, 0] if group_type in ("3D", "Filters") else None
            yield MaskUpdate(name, mask, filters=filters)


def group_fits(arguments: Arguments, shapes: Shapes) -> Iterable[tuple[str, str]]:
    """Every parameter has such groups."""
    for name, (_, group_type) in arguments["reg_regims"].items():
        fault = group_fault(group_type, name, shapes[name])
        if fault is not None:
            yield f"reg_regims.{name}", fault


CLASSES = (
    ClassSpec(
        "StructureParameterPruner",
        "pruners",
        (
            Argument("reg_regims", tuple_of(number(), choice(*GROUP_TYPES)), names="map"),
            given("threshold_criteria", choice("Max", "Mean_Abs")),
        ),
        lambda name, args, building: StructureParameterPruner(name, **args),
        fits=group_fits,
    ),
)
