"""FilterRemover, ChannelRemover and StructureRemover: thinning from within a schedule.

Depends on: torch, arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from stillhouse_compression import datasets
from stillhouse_compression.errors import nearest, shown
from stillhouse_compression.schedule.arguments import (
    Argument,
    Arguments,
    Building,
    ClassSpec,
    Refused,
    choice,
    default,
    integer,
    list_of,
    optional,
    text,
)
from stillhouse_compression.thinning.plan import Part
from stillhouse_compression.thinning.report import ThinningReport
from stillhouse_compression.thinning.thin import FollowsCuts, thin

PARTS: Mapping[str, tuple[Part, ...]] = {
    "remove_filters": ("filters",),
    "remove_channels": ("channels",),
    "contract_model": ("filters", "channels"),
}
"""``thinning_func_str`` -> what is cut."""

_DEFAULT_FUNCTIONS = {
    "FilterRemover": "remove_filters",
    "ChannelRemover": "remove_channels",
    "StructureRemover": "contract_model",
}
_SHAPES: dict[str, tuple[int, int, int]] = {
    "imagenet": (3, 224, 224),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "mnist": (1, 28, 28),
} | {info.name: info.shape for info in datasets.available()}


class StructureRemover:
    """Cuts what is zero in the first minibatch of every epoch in which its policy is active.

    What it did, and what stayed and why, it prints to stderr.

    The pruner's policy must stand before it in the schedule where both act in the same epoch:
    it looks at weights, not at masks.

    Args:
        parts: ``filters``, ``channels`` or both.
        input_shape: (channels, height, width) of the images, to trace the network with.

    Attributes:
        reports: One for each time it acted.
    """

    def __init__(self, parts: Sequence[Part], input_shape: Sequence[int]) -> None:
        self.parts = tuple(parts)
        self.input_shape = tuple(input_shape)
        self.reports: list[ThinningReport] = []

    def on_minibatch_begin(
        self,
        model: nn.Module,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        scheduler: FollowsCuts,
        optimizer: Optimizer | None,
    ) -> None:
        """Thin, in the epoch's first minibatch; the others pass.

        Raises:
            ThinningError: The network cannot be traced or does not run after the cut.
            TrainingDiverged: Some weight is NaN or infinite.
        """
        if minibatch_id == 0:
            report = thin(model, self.input_shape, optimizer, scheduler, self.parts)
            self.reports.append(report)
            print(f"thinning in epoch {epoch}:\n{report}", file=sys.stderr)


def _dataset(value: object) -> str:
    """A data set whose image shape is known."""
    name = text(value)
    if name not in _SHAPES:
        raise Refused(
            f"found {shown(value)}, wanted a data set whose image shape is known "
            f"({', '.join(_SHAPES)}){nearest(name, _SHAPES)}; or give input_shape instead"
        )
    return name


def _faults(arguments: Arguments) -> Iterable[tuple[str, str]]:
    if arguments["dataset"] is None and arguments["input_shape"] is None:
        yield "dataset", "the image shape is not known: give dataset or input_shape: [C, H, W]"


def _build(name: str, arguments: Arguments, building: Building) -> StructureRemover:
    shape = arguments["input_shape"] or _SHAPES[arguments["dataset"]]
    return StructureRemover(PARTS[arguments["thinning_func_str"]], shape)


def _spec(class_name: str) -> ClassSpec:
    arguments: tuple[Argument, ...] = (
        default("thinning_func_str", choice(*PARTS), _DEFAULT_FUNCTIONS[class_name]),
        default("arch", optional(text), None),  # the original never used it either
        default("dataset", optional(_dataset), None),
        default("input_shape", optional(list_of(integer(1), length=3)), None),
    )
    return ClassSpec(class_name, "extensions", arguments, _build, faults=_faults)


CLASSES = tuple(_spec(name) for name in _DEFAULT_FUNCTIONS)
