"""What an experiment consists of: which cases on which baselines and devices, and what is wrong.

Depends on: the store, stillhouse_compression.sweep. Reads, never writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from torch import nn

from stillhouse_compression import datasets, models
from stillhouse_compression.errors import CompressionError, SettingsError
from stillhouse_compression.fitting import fit_problems
from stillhouse_compression.schedule.reading import check_schedule
from stillhouse_compression.sweep import ALGORITHMS, Case, Entry, sweep_cases
from stillhouse_compression.sweep.cases import own_case, unchanged
from stillhouse_compression.training import TrainingSettings
from stillhouse_compression.weights import load_weights
from stillhouse_optimizer.errors import ProblemError
from stillhouse_optimizer.spec import Constraint
from stillhouse_service import combinations
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.catalog import parameter_shapes
from stillhouse_service.checks import DEVICE_KINDS
from stillhouse_service.errors import NotFound, Problem, SpecRejected
from stillhouse_service.objectives import METRICS
from stillhouse_service.schemas.experiments import ExperimentIn
from stillhouse_service.states import BaselineState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import BaselineRow

# Whether zeros and cuts survive the way to the device does not hang on how well it is trained.
_VERIFY_TRAINING = {"epochs": 2, "recovery_epochs": 0, "effective_train_size": 0.1, "lr": 0.01}
_VERIFY = (
    Entry("element_agp", ("all",), (0.8,)),
    Entry("filters_l1", ("all",), (0.5,)),
    Entry("channels_l1", ("all",), (0.5,)),
)


@dataclass(frozen=True)
class Layout:
    """An experiment, worked out.

    Attributes:
        baselines: On which.
        devices: Kinds or ids.
        cases: Baseline's id -> its cases as JSON, the training of each complete.
        notes: What was decided on the way.
    """

    baselines: Sequence[BaselineRow]
    devices: Sequence[str]
    cases: Mapping[str, list[dict[str, Any]]]
    notes: list[str] = field(default_factory=list)

    @property
    def n_trials(self) -> int:
        """How many trials it has."""
        return sum(len(self.cases[row.id]) for row in self.baselines) * len(self.devices)


def lay_out(view: UnitOfWork, artifacts: ArtifactStore, wanted: ExperimentIn) -> Layout:
    """Work an experiment out.

    Args:
        view: The store.
        artifacts: Has the baselines' weights, which some algorithms read.
        wanted: As sent.

    Raises:
        SpecRejected: It cannot work, with every problem at its path.
    """
    problems = [*_static_problems(wanted)]
    if wanted.stage == "combine":
        return _combination(view, wanted, problems)
    baselines = [*_baselines(view, wanted.baselines, problems)]
    devices = wanted.devices or ["CPU"]
    known = view.devices.kinds() | {row.id for row, _ in view.devices.all_with_hosts()}
    for i, device in enumerate(devices):
        if device not in DEVICE_KINDS | known:
            listed = ", ".join(sorted(DEVICE_KINDS | known))
            problems.append(Problem(f"devices[{i}]", f"no device {device!r}; known are {listed}"))
    training = wanted.training
    if training is None:
        training = _VERIFY_TRAINING if wanted.stage == "verify" else {}
    problems += [
        Problem(found.path, found.message) for found in TrainingSettings.check(training, "training")
    ]
    if problems:
        raise SpecRejected(problems)
    cases = {}
    for baseline in baselines:
        try:
            made = _cases(wanted, baseline, training, artifacts)
        except SettingsError as error:
            raise SpecRejected([Problem(p.path, p.message) for p in error.problems]) from error
        except CompressionError as error:
            raise SpecRejected([Problem(wanted.stage, str(error))]) from error
        cases[baseline.id] = [complete(case.to_json(), training) for case in made]
    return Layout(baselines, devices, cases)


def complete(case: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """Give a case with all of its training, checked against its schedule.

    Raises:
        SpecRejected: The two do not fit each other.
    """
    settings = {**training, **case["training"]}
    found = TrainingSettings.check(settings, "training")
    if not found:
        found = fit_problems(case["schedule"], TrainingSettings.from_mapping(settings))
    if found:
        raise SpecRejected(
            [Problem(f"case {case['name']}: {one.path}", one.message) for one in found]
        )
    return {**case, "training": settings}


def _static_problems(wanted: ExperimentIn) -> Iterator[Problem]:
    is_sweep = wanted.stage == "sweep"
    if wanted.stage == "combine":
        if wanted.sweep is None:
            yield Problem("sweep", "missing: the id of the sweep to combine")
        for name in ("baselines", "devices"):
            if getattr(wanted, name):
                yield Problem(name, "a combination runs where its sweep ran; leave it out")
    else:
        if wanted.sweep is not None:
            yield Problem("sweep", f"stage {wanted.stage} follows from no sweep; leave it out")
        if not wanted.baselines:
            yield Problem("baselines", "name at least one complete baseline")
    if not is_sweep:
        for name in ("grid", "cases"):
            if getattr(wanted, name):
                yield Problem(name, f"stage {wanted.stage} has cases of its own; leave it out")
    for name in ("baselines", "devices"):
        given = getattr(wanted, name)
        if len(set(given)) < len(given):
            yield Problem(name, "one is named twice")
    names = [case.name for case in wanted.cases]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield Problem(f"cases[{i}].name", f"{name!r} is another case's")
    for i, text in enumerate(wanted.constraints):
        try:
            metric = Constraint.parse(text, f"constraints[{i}]").metric
        except ProblemError as error:
            yield Problem(f"constraints[{i}]", str(error).removeprefix(f"constraints[{i}]: "))
            continue
        if metric not in METRICS:
            message = f"no metric {metric!r}; there are {', '.join(METRICS)}"
            yield Problem(f"constraints[{i}]", message)


def _baselines(
    view: UnitOfWork, named: Sequence[str], problems: list[Problem]
) -> Iterator[BaselineRow]:
    for i, name in enumerate(named):
        row = view.baselines.find(name)
        if row is None:
            problems.append(Problem(f"baselines[{i}]", f"no baseline {name!r}"))
        elif row.state != BaselineState.COMPLETE:
            message = f"baseline {name} is {row.state}; an experiment needs complete ones"
            problems.append(Problem(f"baselines[{i}]", message))
        else:
            yield row


def _cases(
    wanted: ExperimentIn,
    baseline: BaselineRow,
    training: Mapping[str, Any],
    artifacts: ArtifactStore,
) -> Sequence[Case]:
    info = datasets.dataset_info(baseline.dataset)
    network = models.build(baseline.model, info.n_classes)
    epochs = TrainingSettings.from_mapping(training).epochs
    match wanted.stage:
        case "baseline":
            return [unchanged()]
        case "verify":
            return [unchanged(), *sweep_cases(network, info.shape, _VERIFY, epochs)]
        case _:
            own = [*_own_cases(wanted, network)]
            if wanted.grid is None and own:
                return [unchanged(), *own]
            entries = _entries(wanted)
            algorithms = [
                ALGORITHMS[one.algorithm] for one in entries if one.algorithm in ALGORITHMS
            ]
            if any(algorithm.reads_weights for algorithm in algorithms):
                load_weights(network, artifacts.read(baseline.artifacts["weights"]))
            made = sweep_cases(network, info.shape, entries, epochs)
            return [unchanged(), *made, *own]


def _entries(wanted: ExperimentIn) -> Sequence[Entry]:
    if wanted.grid is None:
        return [Entry(name, ("all", "stage")) for name in ALGORITHMS]
    return [
        Entry(
            entry.algorithm,
            tuple(entry.layers),
            None if entry.levels is None else tuple(entry.levels),
        )
        for entry in wanted.grid
    ]


def _own_cases(wanted: ExperimentIn, network: nn.Module) -> Iterator[Case]:
    for i, case in enumerate(wanted.cases):
        path = f"cases[{i}].schedule"
        try:
            schedule = yaml.safe_load(case.schedule)
        except yaml.YAMLError as error:
            raise SpecRejected([Problem(path, f"no plain schedule: {error}")]) from error
        if not isinstance(schedule, dict):
            raise SpecRejected([Problem(path, "must be a mapping: pruners, policies, ...")])
        try:
            yield own_case(case.name, schedule, network, case.training, case.domain, case.level)
        except SettingsError as error:
            raise SpecRejected(
                [Problem(f"{path}: {p.path}", p.message) for p in error.problems]
            ) from error


def _combination(view: UnitOfWork, wanted: ExperimentIn, problems: list[Problem]) -> Layout:
    if problems or wanted.sweep is None:
        raise SpecRejected(problems)
    try:
        sweep = view.experiments.named(wanted.sweep)
    except NotFound as error:
        raise SpecRejected([Problem("sweep", str(error))]) from error
    if sweep.stage != "sweep":
        message = f"experiment {sweep.id} is no sweep but of stage {sweep.stage}"
        raise SpecRejected([Problem("sweep", message)])
    baselines = [view.baselines.named(baseline_id) for baseline_id in sweep.cases]
    training = wanted.training or sweep.spec.get("training") or {}
    cases, notes = {}, []
    for baseline in baselines:
        found, said = combinations.combine(view, sweep, baseline.id)
        shapes = parameter_shapes(baseline.model, baseline.dataset)
        for case in found:
            wrong = check_schedule(case["schedule"], shapes)
            problems += [Problem(f"{case['name']}: {one.path}", one.message) for one in wrong]
        cases[baseline.id] = [
            complete(unchanged().to_json(), training),
            *(complete(case, training) for case in found),
        ]
        notes += said
    if problems:
        raise SpecRejected(problems)
    return Layout(baselines, sweep.spec["devices"], cases, notes)
