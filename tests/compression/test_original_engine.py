"""Intel's Distiller as the engine: found, told apart from its namesake, driven, and refused.

A stand-in takes its place here, with the original's signatures and float masks over our own
engine; what the original itself makes of schedules is test_distiller_contract.py's.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stillhouse_compression import ScheduleError, dict_config
from stillhouse_compression.errors import EngineError
from stillhouse_compression.original import (
    DistillerScheduler,
    distiller_problems,
    missing_distiller,
)
from stillhouse_compression.template import check_against_model, parse_template

STAND_IN = """
import json
from stillhouse_compression.schedule.config import dict_config as ours


class Masker:
    def __init__(self, entry):
        self.entry = entry
        self.backward_hook_handle = None

    @property
    def mask(self):
        return None if self.entry.mask is None else self.entry.mask.float()

    @mask.setter
    def mask(self, mask):
        self.entry.set(None if mask is None else mask.bool())


class CompressionScheduler:
    def __init__(self, inner):
        self.inner = inner
        self.policies = {}
        self.zeros_mask_dict = {n: Masker(e) for n, e in inner.zeros_mask_dict.items()}

    def on_epoch_begin(self, epoch, optimizer=None, **kwargs):
        if epoch == 7:
            raise AssertionError("no seventh epoch")
        if epoch == 8:
            exit("FATAL ERROR")
        self.inner.on_epoch_begin(epoch, optimizer)

    def on_minibatch_begin(self, epoch, minibatch_id, minibatches_per_epoch, optimizer=None):
        self.inner.on_minibatch_begin(epoch, minibatch_id, minibatches_per_epoch, optimizer)

    def before_backward_pass(self, epoch, minibatch_id, minibatches_per_epoch, loss,
                             optimizer=None, return_loss_components=False):
        answer = self.inner.before_backward_pass(
            epoch, minibatch_id, minibatches_per_epoch, loss, optimizer)
        return answer if return_loss_components else answer.overall_loss

    def before_parameter_optimization(self, epoch, minibatch_id, minibatches_per_epoch,
                                      optimizer=None):
        self.inner.before_parameter_optimization(
            epoch, minibatch_id, minibatches_per_epoch, optimizer)

    def on_minibatch_end(self, epoch, minibatch_id, minibatches_per_epoch, optimizer=None):
        self.inner.on_minibatch_end(epoch, minibatch_id, minibatches_per_epoch, optimizer)

    def on_epoch_end(self, epoch, optimizer=None, **kwargs):
        self.inner.on_epoch_end(epoch, optimizer, kwargs["metrics"])


def dict_config(model, optimizer, sched_dict, scheduler=None, resumed_epoch=None):
    json.dumps(sched_dict)
    assert "extensions" not in sched_dict
    for section in ("pruners", "regularizers"):
        for entry in sched_dict.get(section, {}).values():
            assert not {"mask_batchnorm", "group_size"} & set(entry)
    scheduler = CompressionScheduler(ours(model, optimizer, sched_dict))
    sched_dict.clear()  # the original takes it apart
    return scheduler
"""
RANGE = {"starting_epoch": 0, "ending_epoch": 3, "frequency": 1}


class Net(nn.Module):
    """Two convolutions and a linear layer; (batch, 3, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        y: Tensor = self.fc(self.conv2(x).relu().mean(dim=(2, 3)))
        return y


Package = Callable[[dict[str, str]], None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Make a package called ``distiller`` of the given files importable."""

    def make(files: dict[str, str]) -> None:
        folder = tmp_path / "distiller"
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()

    if missing_distiller() is None:
        pytest.skip("Intel's Distiller is installed here: its stand-in would hide it")
    yield make
    for name in [name for name in sys.modules if name.split(".")[0] == "distiller"]:
        del sys.modules[name]


@pytest.fixture
def stand_in(package: Package) -> None:
    package({"__init__.py": "", "scheduler.py": "", "config.py": STAND_IN})


def _schedule(**pruner: Any) -> dict[str, Any]:
    filters = {
        "class": "L1RankedStructureParameterPruner_AGP",
        "group_type": "Filters",
        "initial_sparsity": 0.2,
        "final_sparsity": 0.5,
        "weights": ["conv?.weight"],
    } | pruner
    fine = {"class": "SparsityLevelParameterPruner", "levels": {"module.fc.weight": 0.5}}
    lasso = {"class": "L1Regularizer", "reg_regims": {"fc.weight": 1e-3}}
    return {
        "pruners": {"filters": filters, "fine": fine},
        "regularizers": {"lasso": lasso},
        "extensions": {"thinner": {"class": "FilterRemover", "input_shape": [3, 8, 8]}},
        "policies": [
            {"pruner": {"instance_name": "filters"}, **RANGE},
            {"pruner": {"instance_name": "fine", "args": {"keep_mask": True}}, "epochs": [1]},
            {"extension": {"instance_name": "thinner"}, "epochs": [2]},
            {"regularizer": {"instance_name": "lasso"}, "epochs": [0, 1, 2]},
        ],
    }


def _train(scheduler: Any, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    generator = torch.Generator().manual_seed(8)
    for epoch in range(4):
        scheduler.on_epoch_begin(epoch, optimizer=optimizer)
        for i in range(2):
            x = torch.randn(6, 3, 8, 8, generator=generator)
            y = torch.randint(0, 4, (6,), generator=generator)
            scheduler.on_minibatch_begin(epoch, i, 2, optimizer=optimizer)
            loss = functional.cross_entropy(model(x), y)
            answer = scheduler.before_backward_pass(epoch, i, 2, loss, optimizer=optimizer)
            assert len(answer.loss_components) == (epoch < 3)
            optimizer.zero_grad()
            answer.backward()
            scheduler.before_parameter_optimization(epoch, i, 2, optimizer=optimizer)
            optimizer.step()
            scheduler.on_minibatch_end(epoch, i, 2, optimizer=optimizer)
        scheduler.on_epoch_end(epoch, optimizer=optimizer, metrics={"min": 1.0, "max": 0.0})


@pytest.mark.usefixtures("stand_in")
def test_the_schedule_runs_through_distiller_and_thinning_is_ours() -> None:
    runs = []
    for build in (dict_config, DistillerScheduler):
        torch.manual_seed(3)
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
        scheduler: Any = build(model, optimizer, _schedule())
        _train(scheduler, model, optimizer)
        scheduler.mask_all_weights()
        runs.append((model, scheduler))
    (one, ours), (two, theirs) = runs
    assert two.conv1.out_channels == 4
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name
    for name, mask in ours.masks.items():
        other = theirs.masks[name]
        assert (mask is None) == (other is None), name
        assert mask is None or torch.equal(mask, other), name


@pytest.mark.usefixtures("stand_in")
def test_what_cannot_be_said_to_distiller_is_a_warning() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    schedule = _schedule(mask_batchnorm=True, group_size=4, group_dependency="Group")
    told = " ".join(DistillerScheduler(model, optimizer, schedule).warnings)
    for part in ("mask_batchnorm", "group_size", "Group became Leader"):
        assert part in told
    assert schedule == _schedule(mask_batchnorm=True, group_size=4, group_dependency="Group")


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(("epoch", "name"), [(7, "AssertionError"), (8, "SystemExit")])
def test_a_failure_of_distiller_says_where(epoch: int, name: str) -> None:
    model = Net()
    scheduler = DistillerScheduler(model, torch.optim.SGD(model.parameters(), 0.1), _schedule())
    with pytest.raises(EngineError, match=f"failed at the begin of epoch {epoch}: {name}"):
        scheduler.on_epoch_begin(epoch)


def test_without_distiller_the_error_says_how_it_is_installed() -> None:
    if missing_distiller() is None:
        pytest.skip("Intel's Distiller is installed here")
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(EngineError, match=r"not installed here.*git?hub\.com.*pip install"):
        DistillerScheduler(model, optimizer, _schedule())


def test_the_package_of_the_same_name_is_not_taken_for_it(package: Package) -> None:
    package({"__init__.py": "raise RuntimeError('imported')"})
    assert "is another one of that name" in (missing_distiller() or "")


def test_a_broken_install_says_what_its_import_raised(package: Package) -> None:
    package({"__init__.py": "import no_such_module", "scheduler.py": ""})
    model = Net()
    with pytest.raises(EngineError, match="does not take the schedule: ModuleNotFoundError"):
        DistillerScheduler(model, torch.optim.SGD(model.parameters(), 0.1), _schedule())


def test_what_distiller_cannot_run_is_told_before_anything_runs() -> None:
    schedule = _schedule() | {"distillation": {"teacher": "initial"}}
    schedule["pruners"]["chance"] = {"class": "BernoulliFilterPruner_AGP"}
    schedule["pruners"]["apoz"] = {"class": "ActivationAPoZRankedFilterPruner"}
    schedule["policies"][0]["pruner"]["args"] = {"fold_batchnorm": True}
    found = distiller_problems(schedule)
    assert [problem.path for problem in found] == [
        "pruners.chance.class",
        "pruners.apoz.class",
        "policies[0].pruner.args.fold_batchnorm",
        "distillation",
    ]
    assert all("take engine stillhouse" in problem.message for problem in found)


@pytest.mark.usefixtures("stand_in")
def test_an_unsound_schedule_is_told_as_by_our_own_engine() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ScheduleError, match=r"no parameter 'conv9\.weight'"):
        DistillerScheduler(model, optimizer, _schedule(weights=["conv9.weight"]))


def test_a_template_is_held_against_the_engine_of_its_study() -> None:
    template = parse_template("""
pruners:
  p: !choice
    chance: {class: BernoulliFilterPruner, group_type: Filters, desired_sparsity: 0.5,
             weights: [conv1.weight]}
    norm: {class: L1RankedStructureParameterPruner, group_type: Filters, desired_sparsity: 0.5,
           weights: [conv1.weight]}
policies:
  - pruner: {instance_name: p}
    epochs: [0]
""")
    assert check_against_model(template, Net()) == []
    (problem,) = check_against_model(template, Net(), engine="distiller")
    assert "engine distiller cannot run BernoulliFilterPruner" in problem.message
