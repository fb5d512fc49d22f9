"""Schedule file or mapping -> scheduler.

Depends on: reading, scheduler, registry.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from stillhouse_compression.errors import CompressionError, Problem, ScheduleError
from stillhouse_compression.schedule.arguments import Building
from stillhouse_compression.schedule.distillation import distillation_policy
from stillhouse_compression.schedule.lr_schedulers import LRPolicy
from stillhouse_compression.schedule.policies import (
    ExtensionPolicy,
    PruningPolicy,
    RegularizationPolicy,
)
from stillhouse_compression.schedule.policy import Policy
from stillhouse_compression.schedule.reading import read_schedule
from stillhouse_compression.schedule.schedule import KINDS, PolicyEntry, Schedule
from stillhouse_compression.schedule.scheduler import CompressionScheduler
from stillhouse_compression.schedule.yaml_text import load_yaml

BUILD_ORDER = ("pruners", "regularizers", "extensions", "lr_schedulers")


def file_config(
    model: nn.Module,
    optimizer: Optimizer | None,
    filename: str | os.PathLike[str],
    scheduler: CompressionScheduler | None = None,
    resumed_epoch: int | None = None,
    *,
    strict: bool = True,
    teachers: Mapping[str, nn.Module] | None = None,
) -> CompressionScheduler:
    """Read a schedule from a YAML file.

    Args:
        model: The network that will be trained.
        optimizer: Its optimizer; may be None in a schedule without ``lr_schedulers``.
        filename: The file.
        scheduler: Add the policies to this scheduler instead of a new one.
        resumed_epoch: The last epoch that was trained, when resuming.
        strict: Unknown parameter names and ``args`` are errors; otherwise they only warn
            (``scheduler.warnings``), as the original is silent about them.
        teachers: Networks that ``distillation.teacher`` may name.

    Returns:
        The scheduler.

    Raises:
        ScheduleError: Something is wrong with the schedule; it carries every problem.
    """
    path = Path(filename)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ScheduleError(
            [Problem("", f"cannot be read: {error.strerror}")], str(path)
        ) from error
    mapping = load_yaml(content, str(path))
    return dict_config(
        model,
        optimizer,
        mapping,
        scheduler,
        resumed_epoch,
        strict=strict,
        teachers=teachers,
        filename=str(path),
    )


def dict_config(
    model: nn.Module,
    optimizer: Optimizer | None,
    sched_dict: Mapping[str, Any],
    scheduler: CompressionScheduler | None = None,
    resumed_epoch: int | None = None,
    *,
    strict: bool = True,
    teachers: Mapping[str, nn.Module] | None = None,
    filename: str | None = None,
) -> CompressionScheduler:
    """Build a scheduler from a schedule's mapping, which is not changed.

    Arguments, result and errors are those of :func:`file_config`.
    """
    schedule, problems = read_schedule(sched_dict, model, strict=strict)
    if schedule.components.get("lr_schedulers") and optimizer is None:
        problems.append(Problem("lr_schedulers", "need the optimizer, which was not given"))
    if problems:
        raise ScheduleError(problems, filename)
    scheduler = scheduler or CompressionScheduler(model)
    scheduler.warnings += schedule.warnings
    scheduler.optimizer = optimizer or scheduler.optimizer
    last_epoch = -1 if resumed_epoch is None else resumed_epoch
    try:
        _fill(scheduler, schedule, Building(model, optimizer, last_epoch), teachers)
    except ScheduleError as error:
        raise ScheduleError(error.problems, filename) from error
    return scheduler


def _fill(
    scheduler: CompressionScheduler,
    schedule: Schedule,
    building: Building,
    teachers: Mapping[str, nn.Module] | None,
) -> None:
    """Build instances, then policies: those of the learning rate come last."""
    built = {section: _build(section, schedule, building, scheduler) for section in BUILD_ORDER}
    wishes = [
        wish for pruner in built["pruners"].values() for wish in getattr(pruner, "wishes", ())
    ]
    if wishes:
        scheduler.observe(wishes)
    rates = [entry for entry in schedule.policies if entry.kind == "lr_scheduler"]
    others = [entry for entry in schedule.policies if entry.kind != "lr_scheduler"]
    for entry in others:
        scheduler.add_windowed(_policy(entry, built), entry.window)
    if schedule.distillation is not None:
        # After the regularisers: the incoming loss has their terms.
        policy = distillation_policy(schedule.distillation, building.model, teachers)
        scheduler.add_windowed(policy, schedule.distillation.window)
    for entry in rates:
        scheduler.add_windowed(_policy(entry, built), entry.window)


def _build(
    section: str, schedule: Schedule, building: Building, scheduler: CompressionScheduler
) -> dict[str, Any]:
    """The instances of a section, known to the scheduler where they have a state."""
    built: dict[str, Any] = {}
    for name, component in schedule.components.get(section, {}).items():
        path = f"{section}.{name}"
        try:
            built[name] = component.spec.build(name, component.arguments, building)
        except (CompressionError, ValueError, TypeError) as error:
            raise ScheduleError([Problem(path, str(error))]) from error
        # Policies of the other sections save their instance themselves.
        if section in ("pruners", "regularizers"):
            scheduler.keep(path, built[name])
    return built


def _policy(entry: PolicyEntry, built: Mapping[str, Mapping[str, Any]]) -> Policy:
    instance = built[KINDS[entry.kind]][entry.instance]
    if entry.kind == "pruner":
        return PruningPolicy(instance, entry.args)
    if entry.kind == "regularizer":
        return RegularizationPolicy(instance, **entry.args)
    if entry.kind == "lr_scheduler":
        return LRPolicy(instance)
    return ExtensionPolicy(instance)
