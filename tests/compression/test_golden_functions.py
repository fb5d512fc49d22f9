"""The original's functions, one by one: figures measured on it, reproduced to 1e-6."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stillhouse_compression import (
    CompressionScheduler,
    KnowledgeDistillationPolicy,
    dict_config,
    sensitivity_analysis,
)
from stillhouse_compression import sparsity_metrics as metrics
from stillhouse_compression.layers import layer_macs
from stillhouse_compression.schedule.arguments import ROUNDING
from stillhouse_compression.schedule.groups import group_scores, keep_groups
from stillhouse_compression.schedule.pruners.baidu import BaiduRNNPruner
from stillhouse_compression.schedule.pruners.law import Gradual, gradual_window
from stillhouse_compression.schedule.ranking import Structure, keep_best, n_to_prune
from stillhouse_compression.schedule.regularizers.group_lasso import GroupLassoRegularizer
from stillhouse_compression.schedule.regularizers.group_variance import GroupVarianceRegularizer
from stillhouse_compression.schedule.regularizers.l1 import L1Regularizer
from stillhouse_compression.schedule.selection import keep_above, keep_level
from stillhouse_compression.schedule.window import Window

GOLDEN = Path(__file__).parent / "golden"
FIGURES = json.loads((GOLDEN / "functions.json").read_text())
ARRAYS = np.load(GOLDEN / "functions.npz")
MODELS = runpy.run_path(str(GOLDEN / "models.py"))
# Strengths of the penalties: the norm of the golden gradients over one group, by definition.
STRENGTHS = {"lasso": 0.01, "l1": 0.01, "var": 0.01}


def _input(name: str) -> Tensor:
    return torch.from_numpy(ARRAYS[f"in/{name}"].copy())


def _packed(mask: Tensor) -> Any:
    return np.packbits(mask.contiguous().numpy())


@pytest.mark.parametrize("key", FIGURES["level"])
def test_level_masks_are_those_of_the_original(key: str) -> None:
    name, level = key.split("/")
    mask = keep_level(_input(name), float(level))
    assert mask is not None
    assert int(mask.sum()) == FIGURES["level"][key]["kept"]
    assert np.array_equal(_packed(mask), ARRAYS[f"level/{key}"])


@pytest.mark.parametrize("key", FIGURES["sensitivity"])
def test_sensitivity_masks_are_those_of_the_original(key: str) -> None:
    name, multiple = key.split("/")
    weight = _input(name)
    deviation = weight.std().item()
    assert deviation == pytest.approx(FIGURES["sensitivity"][key]["std"], abs=1e-6)
    mask = keep_above(weight, deviation * float(multiple))
    assert np.array_equal(_packed(mask), ARRAYS[f"sensitivity/{key}"])


def test_the_gradual_law_has_the_rates_of_the_original() -> None:
    for row in FIGURES["agp"]:
        law = Gradual(row["initial"], row["final"])
        window = Window(row["start"], row["end"], row["freq"])
        if row["table"] == "AssertionError":
            assert gradual_window({}, window) is not None
            continue
        for epoch, rate in row["table"]:
            assert law.sparsity(epoch, window) == pytest.approx(rate, abs=1e-12), (row, epoch)


def test_baidus_thresholds_are_those_of_the_original() -> None:
    for row in FIGURES["baidu"]:
        pruner = BaiduRNNPruner(
            "ramp", row["q"], row["ramp_epoch_offset"], row["ramp_slope_mult"], []
        )
        window = Window(row["start"], row["end"], row["freq"])
        for epoch, threshold in row["thresholds"]:
            assert pruner.threshold(epoch, window) == pytest.approx(threshold, abs=1e-12)


def test_the_number_of_structures_to_prune_is_that_of_the_original() -> None:
    for row in FIGURES["num_structs_to_prune"]:
        n = n_to_prune(row["n"], row["frac"], row["group"], ROUNDING[row["fn"]])
        assert n == row["out"], row


def _norm_keys() -> list[str]:
    return [key for key in ARRAYS.files if key.startswith("norm/")]


@pytest.mark.parametrize("key", _norm_keys())
def test_norms_are_those_of_the_original(key: str) -> None:
    _, kind, name, p, *is_mean = key.split("/")
    weight = _input(name)
    group = {"filters": "3D", "channels": "Channels", "kernels": "2D", "rows": "Rows"}
    scores = group_scores(weight, group.get(kind, "Cols"), p).flatten()
    if is_mean == ["True"]:
        scores = scores / (weight.numel() // scores.numel())
    assert np.allclose(scores.numpy(), ARRAYS[key], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("key", FIGURES["rank"])
def test_rank_masks_are_those_of_the_original(key: str) -> None:
    p, name, group_type, fraction, *block = key.split("/")
    weight = _input(name)
    structure = Structure(group_type, tuple(json.loads(block[0])) if block else None)
    n_structures = structure.count(weight.shape)
    n = (
        int(float(fraction) * n_structures)
        if group_type == "Blocks"
        else n_to_prune(n_structures, float(fraction))
    )
    keep = keep_best(structure.scores(weight, int(p[1])), n)
    if FIGURES["rank"][key] is None:
        assert keep is None
        return
    assert keep is not None
    mask = structure.mask(keep, weight.shape)
    assert np.array_equal(_packed(mask), ARRAYS[f"rank/{key}"])
    wanted = FIGURES["rank"][key]
    pruned = mask.float()
    assert metrics.sparsity(pruned) == pytest.approx(wanted["sp"], abs=1e-6)
    assert metrics.sparsity_3D(pruned) == pytest.approx(wanted["s3"], abs=1e-6)
    assert metrics.sparsity_ch(pruned) == pytest.approx(wanted["ch"], abs=1e-6)
    assert metrics.sparsity_2D(pruned) == pytest.approx(wanted["k2"], abs=1e-6)
    assert metrics.sparsity_cols(pruned) == pytest.approx(wanted["cols"], abs=1e-6)
    assert metrics.sparsity_rows(pruned) == pytest.approx(wanted["rows"], abs=1e-6)


@pytest.mark.parametrize("key", FIGURES["group_threshold"])
def test_group_thresholds_keep_the_groups_of_the_original(key: str) -> None:
    name, group_type, criterion, threshold = key.split("/")
    weight, wanted = _input(name), FIGURES["group_threshold"][key]
    keep = group_scores(weight, group_type, criterion).flatten() > float(threshold)
    assert keep.numel() == wanted["n"]
    assert int(keep.sum()) == wanted["kept"]
    assert np.array_equal(_packed(keep), ARRAYS[f"group_threshold/{key}"])
    mask = keep_groups(weight, group_type, float(threshold), criterion)
    assert mask.shape == weight.shape
    assert metrics.sparsity(mask) == pytest.approx(wanted["mask_sparsity"], abs=1e-6)


@pytest.mark.parametrize("key", FIGURES["reg"])
def test_penalties_and_their_gradients_are_those_of_the_original(key: str) -> None:
    kind, name, *group = key.split("/")
    # In double precision: the golden gradients are single, of the order of the largest one.
    weight = _input(name).double().requires_grad_()
    strength = STRENGTHS[kind]
    regularizer: Any
    if kind == "l1":
        regularizer = L1Regularizer("r", {"w": strength})
    elif kind == "lasso":
        regularizer = GroupLassoRegularizer("r", {"w": (strength, group[0])})
    else:
        regularizer = GroupVarianceRegularizer("r", {"w": (strength, group[0])})
    penalty = regularizer.loss("w", weight)
    assert penalty.item() == pytest.approx(FIGURES["reg"][key], rel=1e-6, abs=1e-6)
    penalty.backward()
    assert weight.grad is not None
    golden = ARRAYS[f"reggrad/{key}"]
    assert np.abs(weight.grad.numpy() - golden).max() < 1e-6 * max(1.0, np.abs(golden).max())


@pytest.mark.parametrize("name", FIGURES["metrics"])
def test_metrics_are_those_of_the_original(name: str) -> None:
    tensor, wanted = _input(name), FIGURES["metrics"][name]
    found = {
        "sparsity": metrics.sparsity(tensor),
        "density": metrics.density(tensor),
        "s3D": metrics.sparsity_3D(tensor),
        "s2D": metrics.sparsity_2D(tensor),
        "ch": metrics.sparsity_ch(tensor),
        "cols": metrics.sparsity_cols(tensor),
        "rows": metrics.sparsity_rows(tensor),
    }
    for key in wanted:
        if key.startswith("blocks_"):
            shape = [int(size) for size in key.removeprefix("blocks_").split("x")]
            found[key] = metrics.sparsity_blocks(tensor, shape)
    assert found == pytest.approx(wanted, abs=1e-6)


class _Answers(nn.Module):
    """A network whose answer does not depend on its input."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = nn.Parameter(answer)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer + 0.0


@pytest.mark.parametrize("row", FIGURES["kd"], ids=str)
def test_distillation_losses_are_those_of_the_original(row: dict[str, Any]) -> None:
    student, teacher = _Answers(_input("kd_student")), _Answers(_input("kd_teacher"))
    weights = (row["distill"], row["student"], 0.0)
    scheduler = CompressionScheduler(student)
    policy = KnowledgeDistillationPolicy(student, teacher, row["T"], weights)
    scheduler.add_policy(policy, epochs=[0])
    scheduler.on_epoch_begin(0)
    policy.forward(torch.zeros(1))
    answer = scheduler.before_backward_pass(0, 0, 1, torch.tensor(row["base_loss"]))
    assert answer.item() == pytest.approx(row["overall"], abs=1e-6)
    (component,) = answer.loss_components
    assert component.name == row["component"][0]
    assert component.value.item() == pytest.approx(row["component"][1], abs=1e-6)


@pytest.mark.parametrize("row", FIGURES["lr"], ids=lambda row: f"{row['cls']}-{row['start']}")
def test_learning_rates_follow_the_original(row: dict[str, Any]) -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = {
        "lr_schedulers": {"lr": {"class": row["cls"], **row["args"]}},
        "policies": [
            {
                "lr_scheduler": {"instance_name": "lr"},
                "starting_epoch": row["start"],
                "ending_epoch": row["end"],
                "frequency": row["freq"],
            }
        ],
    }
    scheduler = dict_config(model, optimizer, schedule)
    found = []
    for epoch in range(len(row["lr_during_epoch"])):
        scheduler.on_epoch_begin(epoch, optimizer)
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.on_epoch_end(epoch, optimizer, metrics={"min": 1.0, "max": 1.0})
    assert found == pytest.approx(row["lr_during_epoch"], rel=1e-9, abs=1e-15)


@pytest.fixture
def tinyres() -> Iterator[nn.Module]:
    model: nn.Module = MODELS["TinyRes"]()
    initial = np.load(GOLDEN / "init_tinyres.npz")
    model.load_state_dict({k: torch.from_numpy(initial[k]) for k in initial.files}, strict=False)
    yield model.eval()


@pytest.mark.parametrize("group", FIGURES["sensitivity_analysis"])
def test_the_sensitivity_analysis_is_that_of_the_original(group: Any, tinyres: nn.Module) -> None:
    ((x, y),) = MODELS["batches"](1)

    def test(model: nn.Module) -> tuple[float, float, float]:
        with torch.no_grad():
            out = model(x)
        top1 = (out.argmax(1) == y).float().mean().item() * 100
        # The golden run reports the mean magnitude of the outputs where Top-5 would stand.
        return top1, out.abs().mean().item(), functional.cross_entropy(out, y).item()

    golden = FIGURES["sensitivity_analysis"][group]
    # Levels from high to low: a fresh copy a level, so their order does not matter.
    analysis = sensitivity_analysis(tinyres, test, [0.6, 0.3, 0.0], list(golden), group)
    found = {(r.parameter, r.level): (r.top1, r.top5, r.loss) for r in analysis.rows}
    for name, levels in golden.items():
        for level, figures in levels:
            assert found[name, level] == pytest.approx(figures, rel=1e-5), (name, level)


@pytest.mark.parametrize("name", ["TinyRes", "TinyPlain"])
def test_multiply_accumulates_are_those_of_the_original(name: str) -> None:
    assert layer_macs(MODELS[name](), (3, 32, 32)) == FIGURES["macs"][name.lower()]


def test_multiply_accumulates_of_resnet20_are_those_of_the_original() -> None:
    from stillhouse_compression import models

    found = layer_macs(models.build("resnet20_cifar", 10), (3, 32, 32))
    assert found == FIGURES["macs"]["resnet20"]
