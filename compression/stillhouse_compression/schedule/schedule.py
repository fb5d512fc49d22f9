"""A schedule as data: what a document says, checked, before anything is built.

Depends on: arguments, errors, window. :mod:`stillhouse_compression.schedule.reading` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stillhouse_compression.schedule.arguments import ClassSpec
from stillhouse_compression.schedule.window import ALWAYS, Window

SECTIONS = ("pruners", "regularizers", "lr_schedulers", "extensions")
KINDS: Mapping[str, str] = {
    "pruner": "pruners",
    "regularizer": "regularizers",
    "quantizer": "quantizers",
    "lr_scheduler": "lr_schedulers",
    "extension": "extensions",
}
"""A policy's kind key -> the section its instance stands in, in the original's order."""


@dataclass(frozen=True)
class Component:
    """One instance of a class: a pruner, a regulariser, a scheduler of the learning rate, ...

    Attributes:
        name: Its instance name.
        spec: Its class.
        arguments: Its checked arguments; parameter names are the model's own.
    """

    name: str
    spec: ClassSpec
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class PolicyEntry:
    """One entry of ``policies``.

    Attributes:
        kind: ``pruner``, ``regularizer``, ``lr_scheduler`` or ``extension``.
        instance: Name of the instance it runs.
        window: When.
        args: Its checked ``args``.
        path: Its YAML path.
    """

    kind: str
    instance: str
    window: Window
    args: Mapping[str, Any]
    path: str


@dataclass(frozen=True)
class DistillationEntry:
    """The ``distillation`` section.

    Attributes:
        teacher: ``initial`` (a frozen copy of the network as it is when the schedule is
            loaded) or the name of a network handed to ``file_config(teachers=...)``.
        temperature: Softens both distributions, above 0.
        distill_weight: Weight of the distillation term.
        student_weight: Weight of the incoming loss.
        window: When.
    """

    teacher: str
    temperature: float
    distill_weight: float
    student_weight: float
    window: Window = ALWAYS


@dataclass(frozen=True)
class Schedule:
    """A whole schedule, checked against a network's parameters.

    Attributes:
        components: Section -> instance name -> instance.
        policies: Policies in document order.
        distillation: Knowledge distillation, or None.
    """

    components: Mapping[str, Mapping[str, Component]]
    policies: tuple[PolicyEntry, ...]
    distillation: DistillationEntry | None = None
    warnings: tuple[str, ...] = field(default=())
