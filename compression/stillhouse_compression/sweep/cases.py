"""The trials of a sweep: algorithms x levels x layer sets, each a plain schedule of its own.

Depends on: torch, the registry of networks, algorithms, layer sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from stillhouse_compression.errors import CompressionError, Problem, SettingsError, nearest
from stillhouse_compression.schedule.reading import check_schedule
from stillhouse_compression.sweep.algorithms import ALGORITHMS, Algorithm, Schedule
from stillhouse_compression.sweep.composition import expanded, tensors_of
from stillhouse_compression.sweep.layer_sets import LayerSet, layer_sets, prunable

SCOPES = ("all", "stage", "layer")


@dataclass(frozen=True)
class Entry:
    """One line of a sweep's plan.

    Attributes:
        algorithm: Name of an algorithm.
        layers: ``all``; ``stage`` and ``layer``: each in turn; or names of single ones.
        levels: Of its parameter; none takes the preselected ones.
    """

    algorithm: str
    layers: tuple[str, ...] = SCOPES
    levels: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Case:
    """One trial without an optimizer.

    Attributes:
        name: Unique in its sweep: ``filters_l1/stage1/0.5``.
        algorithm: What pruned; ``own`` where the user wrote the schedule.
        domain: ``element``, ``filter``, ``channel``, ``none`` or ``mixed``.
        scope: ``all``, ``stage`` or ``layer``.
        layers: Name of the layer set.
        weights: Parameters it prunes.
        level: Of the algorithm's parameter; none where there is no such thing.
        is_control: Whether it shows what happens without any ranking, or without pruning.
        schedule: Plain.
        training: Settings that this case has instead of its sweep's.
    """

    name: str
    algorithm: str
    domain: str
    scope: str
    layers: str
    weights: tuple[str, ...]
    level: float | None
    is_control: bool
    schedule: Schedule
    training: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As stored and shown."""
        return asdict(self) | {"weights": list(self.weights)}


def unchanged() -> Case:
    """Make the control that prunes nothing: the baseline measured against itself."""
    training = {"epochs": 0, "recovery_epochs": 0, "recalibrate_batchnorm": False}
    schedule: Schedule = {"version": 1, "policies": []}
    return Case("baseline", "none", "none", "all", "none", (), None, True, schedule, training)


def own_case(
    name: str,
    schedule: Mapping[str, Any],
    model: nn.Module,
    training: Mapping[str, Any] | None = None,
    domain: str = "mixed",
    level: float | None = None,
) -> Case:
    """Make a case of the user's own schedule.

    Args:
        name: What it is called.
        schedule: Plain; patterns of names are written out.
        model: The network; unchanged.
        training: Settings of its own.
        domain: What it prunes, as far as the user cares to say.
        level: Its strength, likewise.

    Raises:
        SettingsError: The schedule cannot run on the network; problems at its own paths.
    """
    found = check_schedule(schedule, model)
    if found:
        raise SettingsError(found)
    parameters = [parameter for parameter, _ in model.named_parameters()]
    written = {**schedule}
    weights: dict[str, None] = {}
    for section in ("pruners", "regularizers"):
        if schedule.get(section):
            instances = {
                key: expanded(instance, parameters) for key, instance in schedule[section].items()
            }
            written[section] = instances
            for instance in instances.values():
                weights |= dict.fromkeys(sorted(tensors_of(instance)))
    chosen = tuple(parameter for parameter in parameters if parameter in weights)
    return Case(
        name, "own", domain, "all", "own", chosen, level, False, written, dict(training or {})
    )


def sweep_cases(
    model: nn.Module, input_shape: Sequence[int], entries: Sequence[Entry], epochs: int
) -> list[Case]:
    """Lay out a sweep.

    Args:
        model: The network, trained where an algorithm reads its weights; unchanged.
        input_shape: (channels, height, width).
        entries: Its plan.
        epochs: Under each schedule, at least 2.

    Returns:
        Cases in the plan's order, the wide sets of an entry first; none twice.

    Raises:
        SettingsError: With every problem, each at its path ``grid[1].levels[0]``.
        ThinningError: The network cannot be traced.
    """
    problems: list[Problem] = []
    if epochs < 2:
        problems.append(
            Problem("training.epochs", f"a gradual pruner needs at least 2 epochs, got {epochs}")
        )
    known = prunable(model, input_shape)
    cases: dict[str, Case] = {}
    for number, entry in enumerate(entries):
        path = f"grid[{number}]"
        algorithm = ALGORITHMS.get(entry.algorithm)
        if algorithm is None:
            near = nearest(entry.algorithm, list(ALGORITHMS))
            message = f"no algorithm {entry.algorithm!r}; there are {', '.join(ALGORITHMS)}{near}"
            problems.append(Problem(f"{path}.algorithm", message))
            continue
        groups = getattr(known, algorithm.domain)
        if not algorithm.takes_coupled:
            groups = tuple(group for group in groups if not group.is_coupled)
        try:
            sets = layer_sets(groups, entry.layers)
        except KeyError as error:
            names = ["all", "stage", "layer", *(group.name for group in groups)]
            message = (
                f"{algorithm.name} prunes no layers {error.args[0]!r}; it knows {', '.join(names)}"
            )
            problems.append(Problem(f"{path}.layers", message))
            continue
        levels = algorithm.levels if entry.levels is None else entry.levels
        low, high = algorithm.bounds
        bad = [(i, level) for i, level in enumerate(levels) if not low < level < high]
        problems += [
            Problem(
                f"{path}.levels[{i}]",
                f"the {algorithm.parameter} of {algorithm.name} lies between {low:g} and "
                f"{high:g}, got {level:g}",
            )
            for i, level in bad
        ]
        if epochs >= 2 and not bad:
            made = _cases(algorithm, sets, levels, epochs, model)
            cases |= {case.name: case for case in made if case.name not in cases}
    if problems:
        raise SettingsError(problems)
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for case in cases.values():
        found = check_schedule(case.schedule, shapes)
        if found:
            listed = "; ".join(f"{one.path}: {one.message}" for one in found)
            raise CompressionError(f"{case.name} does not suit the network: {listed}")
    return list(cases.values())


def _cases(
    algorithm: Algorithm,
    sets: Sequence[LayerSet],
    levels: Sequence[float],
    epochs: int,
    model: nn.Module,
) -> Iterator[Case]:
    for chosen in sets:
        for level in levels:
            yield Case(
                name=f"{algorithm.name}/{chosen.name}/{level:g}",
                algorithm=algorithm.name,
                domain=algorithm.domain,
                scope=chosen.scope,
                layers=chosen.name,
                weights=tuple(weight for group in chosen.groups for weight in group.weights),
                level=level,
                is_control=algorithm.is_control,
                schedule=algorithm.schedule(chosen.groups, level, epochs, model),
            )
