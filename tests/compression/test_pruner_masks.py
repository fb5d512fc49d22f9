"""Every pruner's masks against references in NumPy, written from the definitions."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from stillhouse_compression import CompressionScheduler, dict_config

Array = NDArray[Any]
WINDOW = {"starting_epoch": 0, "ending_epoch": 6, "frequency": 1}


class Small(nn.Module):
    """Two convolutions with BatchNorm and ReLU, and a linear layer; (batch, 3, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(8)
        self.relu2 = nn.ReLU()
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        y: Tensor = self.fc(x.mean(dim=(2, 3)))
        return y


@pytest.fixture
def model() -> Small:
    torch.manual_seed(7)
    net = Small()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return net


def _scheduler(
    model: nn.Module,
    pruner: Mapping[str, Any],
    args: Mapping[str, Any] | None = None,
    window: Mapping[str, Any] = WINDOW,
) -> CompressionScheduler:
    entry = {"pruner": {"instance_name": "p", "args": dict(args or {})}, **window}
    return dict_config(model, None, {"pruners": {"p": pruner}, "policies": [entry]})


def _weight(model: nn.Module, name: str) -> Array:
    found: Array = dict(model.named_parameters())[name].detach().numpy().copy()
    return found


def _mask(scheduler: CompressionScheduler, name: str) -> Array:
    mask = scheduler.masks[name]
    assert mask is not None
    assert mask.dtype == torch.bool
    found: Array = mask.numpy()
    return found


# Elements ---------------------------------------------------------------------------------


def _level(weight: Array, level: float) -> Array:
    magnitudes = np.sort(np.abs(weight).ravel())
    found: Array = np.abs(weight) > magnitudes[int(level * weight.size) - 1]
    return found


@pytest.mark.parametrize("level", [0.05, 0.5, 0.777, 1.0])
def test_a_level_prunes_the_smallest_weights(model: Small, level: float) -> None:
    pruner = {"class": "SparsityLevelParameterPruner", "levels": {"conv2.weight": level}}
    scheduler = _scheduler(model, pruner)
    scheduler.on_epoch_begin(0)
    reference = _level(_weight(model, "conv2.weight"), level)
    assert np.array_equal(_mask(scheduler, "conv2.weight"), reference)
    assert scheduler.masks["conv1.weight"] is None


def test_a_star_level_means_every_parameter_not_named(model: Small) -> None:
    levels = {"*": 0.5, "conv2.weight": 0.25}
    scheduler = _scheduler(model, {"class": "SparsityLevelParameterPruner", "levels": levels})
    scheduler.on_epoch_begin(0)
    for name, parameter in model.named_parameters():
        reference = _level(parameter.detach().numpy(), levels.get(name, 0.5))
        assert np.array_equal(_mask(scheduler, name), reference), name


def test_equal_weights_are_pruned_together(model: Small) -> None:
    nn.init.ones_(model.fc.weight)
    pruner = {"class": "SparsityLevelParameterPruner", "levels": {"fc.weight": 0.1}}
    scheduler = _scheduler(model, pruner)
    scheduler.on_epoch_begin(0)
    assert not _mask(scheduler, "fc.weight").any()


def test_levels_of_a_policy_replace_those_of_the_pruner(model: Small) -> None:
    pruner = {"class": "SparsityLevelParameterPruner", "levels": {"fc.weight": 0.1}}
    scheduler = _scheduler(model, pruner, {"levels": {"fc.weight": 0.6}})
    scheduler.on_epoch_begin(0)
    reference = _level(_weight(model, "fc.weight"), 0.6)
    assert np.array_equal(_mask(scheduler, "fc.weight"), reference)


def test_a_magnitude_threshold_masks_every_parameter(model: Small) -> None:
    thresholds = {"*": 0.0, "fc.weight": 0.3}
    scheduler = _scheduler(model, {"class": "MagnitudeParameterPruner", "thresholds": thresholds})
    nn.init.zeros_(model.bn1.bias)
    scheduler.on_epoch_begin(0)
    for name, parameter in model.named_parameters():
        reference = np.abs(parameter.detach().numpy()) > thresholds.get(name, 0.0)
        assert np.array_equal(_mask(scheduler, name), reference), name
    assert not _mask(scheduler, "bn1.bias").any()


def test_a_sensitivity_is_a_multiple_of_the_deviation_first_seen(model: Small) -> None:
    pruner = {"class": "SensitivityPruner", "sensitivities": {"conv*.weight": 0.8}}
    scheduler = _scheduler(model, pruner)
    deviation = {
        name: np.std(_weight(model, name).astype(np.float64), ddof=1)
        for name in ("conv1.weight", "conv2.weight")
    }
    scheduler.on_epoch_begin(0)
    with torch.no_grad():
        model.conv1.weight.mul_(3.0)  # later weights do not change the deviation
    scheduler.on_epoch_begin(1)
    for name, std in deviation.items():
        assert np.array_equal(_mask(scheduler, name), np.abs(_weight(model, name)) > 0.8 * std)


def test_splicing_prunes_below_restores_above_and_keeps_between(model: Small) -> None:
    pruner = {
        "class": "SplicingPruner",
        "sensitivities": {"conv2.weight": 0.5},
        "low_thresh_mult": 0.7,
        "hi_thresh_mult": 1.1,
        "sensitivity_multiplier": 0.2,
    }
    scheduler = _scheduler(model, pruner, {"mask_on_forward_only": True})
    first = np.abs(_weight(model, "conv2.weight"))
    mean, deviation = first.mean(dtype=np.float64), np.std(first.astype(np.float64), ddof=1)
    reference = np.ones(first.shape, bool)
    for epoch in range(4):
        magnitude = np.abs(_weight(model, "conv2.weight"))
        middle = mean + deviation * 0.5 * (epoch * 0.2 + 1)
        reference[magnitude < middle * 0.7] = False
        reference[magnitude >= middle * 1.1] = True
        scheduler.on_epoch_begin(epoch)
        assert np.array_equal(_mask(scheduler, "conv2.weight"), reference), epoch
        with torch.no_grad():
            model.conv2.weight.add_(torch.randn_like(model.conv2.weight) * 0.5)


def test_baidus_threshold_rises_in_two_slopes(model: Small) -> None:
    pruner = {
        "class": "BaiduRNNPruner",
        "q": 0.9,
        "ramp_epoch_offset": 2,
        "ramp_slope_mult": 1.5,
        "weights": ["fc.weight"],
    }
    scheduler = _scheduler(model, pruner)
    # start 0, end 6, frequency 1, ramp at 2: slope = 2 * 0.9 / (2 * 2 + 3 * 4) = 0.1125.
    thresholds = [0.1125, 0.225, 0.3375 + 0.16875, 0.3375 + 0.3375, 0.3375 + 0.50625]
    for epoch, threshold in enumerate(thresholds):
        scheduler.on_epoch_begin(epoch)
        reference = np.abs(_weight(model, "fc.weight")) > threshold
        assert np.array_equal(_mask(scheduler, "fc.weight"), reference), epoch


def test_gradual_pruning_goes_from_initial_to_final(model: Small) -> None:
    pruner = {
        "class": "AutomatedGradualPruner",
        "initial_sparsity": 0.1,
        "final_sparsity": 0.9,
        "weights": ["conv2.weight"],
    }
    scheduler = _scheduler(model, pruner)
    for epoch in range(6):
        scheduler.on_epoch_begin(epoch)
        level = 0.9 - 0.8 * (1 - epoch / 5) ** 3
        reference = _level(_weight(model, "conv2.weight"), level)
        assert np.array_equal(_mask(scheduler, "conv2.weight"), reference), epoch
    assert _mask(scheduler, "conv2.weight").mean() == pytest.approx(0.1, abs=1 / 576)


# Structures by norm -----------------------------------------------------------------------


def _scores(weight: Array, axis: int, p: int) -> Array:
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)
    found: Array = (np.abs(rows) ** p).sum(1) ** (1 / p) / rows.shape[1]
    return found


def _keep(scores: Array, n: int) -> Array:
    found: Array = scores > np.sort(scores)[n - 1]
    return found


def _spread(keep: Array, weight: Array, axis: int) -> Array:
    shape = [1] * weight.ndim
    shape[axis] = -1
    return np.broadcast_to(keep.reshape(shape), weight.shape)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize(
    ("group_type", "axis", "name"),
    [
        ("Filters", 0, "conv2.weight"),
        ("3D", 0, "conv1.weight"),
        ("Channels", 1, "conv2.weight"),
        ("Channels", 1, "fc.weight"),
        ("Rows", 1, "fc.weight"),
    ],
)
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.99])
def test_structures_of_the_smallest_norm_go(
    model: Small, p: int, group_type: str, axis: int, name: str, sparsity: float
) -> None:
    pruner = {
        "class": f"L{p}RankedStructureParameterPruner",
        "group_type": group_type,
        "desired_sparsity": sparsity,
        "weights": [name],
    }
    scheduler = _scheduler(model, pruner, window={"epochs": [0]})
    scheduler.on_epoch_begin(0)
    weight = _weight(model, name)
    keep = _keep(_scores(weight, axis, p), math.floor(sparsity * weight.shape[axis]))
    assert np.array_equal(_mask(scheduler, name), _spread(keep, weight, axis))


@pytest.mark.parametrize("p", [1, 2])
def test_gradual_structures_follow_the_law(model: Small, p: int) -> None:
    pruner = {
        "class": f"L{p}RankedStructureParameterPruner_AGP",
        "group_type": "Filters",
        "initial_sparsity": 0.0,
        "final_sparsity": 0.75,
        "weights": ["conv2.weight"],
    }
    scheduler = _scheduler(model, pruner)
    weight = _weight(model, "conv2.weight")
    for epoch in range(6):
        scheduler.on_epoch_begin(epoch)
        n = math.floor(8 * (0.75 - 0.75 * (1 - epoch / 5) ** 3))
        if n == 0:
            assert scheduler.masks["conv2.weight"] is None
        else:
            keep = _keep(_scores(weight, 0, p), n)
            assert np.array_equal(_mask(scheduler, "conv2.weight"), _spread(keep, weight, 0))
    assert n == 6


@pytest.mark.parametrize("block", [[1, 4, 1, 1], [2, 2, 1, 1], [2, 1, 1, 1]])
def test_blocks_are_runs_of_kernels_at_one_position(model: Small, block: list[int]) -> None:
    pruner = {
        "class": "L1RankedStructureParameterPruner",
        "group_type": "Blocks",
        "desired_sparsity": 0.4,
        "weights": ["conv2.weight"],
        "kwargs": {"block_shape": block},
    }
    scheduler = _scheduler(model, pruner, window={"epochs": [0]})
    scheduler.on_epoch_begin(0)
    weight = _weight(model, "conv2.weight")
    size = block[0] * block[1]
    # With a depth: `size` kernels in row-major (filter, channel) order, one position each.
    # Without: `size` consecutive filters at one channel and position.
    shape = (-1, size, 9) if block[1] > 1 else (8 // size, size, 72)
    view = weight.reshape(shape)
    norms = np.abs(view).astype(np.float64).sum(1)
    threshold = np.sort(norms.ravel())[int(0.4 * norms.size) - 1]
    keep = np.broadcast_to((norms > threshold)[:, None, :], view.shape).reshape(weight.shape)
    assert np.array_equal(_mask(scheduler, "conv2.weight"), keep)


def test_followers_take_the_leaders_filters(model: Small) -> None:
    pruner = {
        "class": "L1RankedStructureParameterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.5,
        "group_dependency": "Leader",
        "weights": ["conv2.weight", "conv1.weight"],
    }
    scheduler = _scheduler(model, pruner)
    scheduler.on_epoch_begin(0)
    keep = _keep(_scores(_weight(model, "conv2.weight"), 0, 1), 4)
    for name in ("conv1.weight", "conv2.weight"):
        assert np.array_equal(_mask(scheduler, name), _spread(keep, _weight(model, name), 0))


@pytest.mark.parametrize("p", [1, 2])
def test_a_group_takes_the_filters_of_the_smallest_sum(model: Small, p: int) -> None:
    pruner = {
        "class": f"L{p}RankedStructureParameterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.5,
        "group_dependency": "Group",
        "weights": ["conv2.weight", "conv1.weight"],
    }
    scheduler = _scheduler(model, pruner)
    scheduler.on_epoch_begin(0)
    names = ("conv1.weight", "conv2.weight")
    scores = np.add(*(_scores(_weight(model, name), 0, p) for name in names))
    keep = _keep(scores, 4)
    for name in names:
        assert np.array_equal(_mask(scheduler, name), _spread(keep, _weight(model, name), 0))


@pytest.mark.parametrize(
    ("rounding", "group_size", "n_pruned"),
    [("floor", 1, 3), ("ceil", 1, 4), ("round", 1, 3), ("floor", 2, 2), ("ceil", 4, 4)],
)
def test_group_size_and_rounding_are_honoured(
    model: Small, rounding: str, group_size: int, n_pruned: int
) -> None:
    pruner = {
        "class": "L1RankedStructureParameterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.4,  # 3.2 of 8
        "weights": ["conv2.weight"],
        "rounding_fn": rounding,
        "group_size": group_size,
    }
    scheduler = _scheduler(model, pruner)
    scheduler.on_epoch_begin(0)
    keep = _mask(scheduler, "conv2.weight")[:, 0, 0, 0]
    assert (~keep).sum() == n_pruned


def test_noise_shakes_the_ranking_by_normal_factors(model: Small) -> None:
    pruner = {
        "class": "L1RankedStructureParameterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.5,
        "weights": ["conv2.weight"],
        "noise": 1.0,
    }
    scheduler = _scheduler(model, pruner)
    torch.manual_seed(3)
    scheduler.on_epoch_begin(0)
    torch.manual_seed(3)
    factors = torch.randn(8).numpy()
    weight = _weight(model, "conv2.weight")
    keep = _keep(_scores(weight, 0, 1) * factors, 4)
    assert np.array_equal(_mask(scheduler, "conv2.weight"), _spread(keep, weight, 0))


def test_a_random_level_is_drawn_for_each_parameter(model: Small) -> None:
    pruner = {
        "class": "RandomLevelStructureParameterPruner",
        "group_type": "Filters",
        "sparsity_range": [0.2, 0.8],
        "weights": ["conv1.weight", "conv2.weight"],
    }
    scheduler = _scheduler(model, pruner)
    random.seed(11)
    scheduler.on_epoch_begin(0)
    random.seed(11)
    for name in ("conv1.weight", "conv2.weight"):
        weight = _weight(model, name)
        n = math.floor(random.uniform(0.2, 0.8) * 8)
        keep = _keep(_scores(weight, 0, 1), n)
        assert np.array_equal(_mask(scheduler, name), _spread(keep, weight, 0)), name


def test_folding_ranks_by_what_batchnorm_makes_of_a_filter(model: Small) -> None:
    pruner = {
        "class": "L1RankedStructureParameterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.5,
        "weights": ["conv2.weight"],
    }
    assert model.bn2.running_var is not None
    model.bn2.running_var.copy_(torch.linspace(0.01, 4.0, 8))
    scheduler = _scheduler(model, pruner, {"fold_batchnorm": True})
    scheduler.on_epoch_begin(0)
    weight = _weight(model, "conv2.weight")
    factor = _weight(model, "bn2.weight") / np.sqrt(model.bn2.running_var.numpy() + 1e-5)
    keep = _keep(_scores(weight * factor[:, None, None, None], 0, 1), 4)
    assert np.array_equal(_mask(scheduler, "conv2.weight"), _spread(keep, weight, 0))


# Structures by threshold ------------------------------------------------------------------


@pytest.mark.parametrize("criterion", ["Max", "Mean_Abs"])
@pytest.mark.parametrize(
    ("group_type", "axes", "name", "threshold"),
    [
        ("2D", (2, 3), "conv2.weight", 0.8),
        ("3D", (1, 2, 3), "conv2.weight", 0.8),
        ("Filters", (1, 2, 3), "conv2.weight", 0.8),
        ("Channels", (0, 2, 3), "conv2.weight", 0.8),
        ("Rows", (1,), "fc.weight", 1.2),
        ("Cols", (0,), "fc.weight", 0.5),
    ],
)
def test_groups_at_or_below_the_threshold_go(
    model: Small,
    criterion: str,
    group_type: str,
    axes: tuple[int, ...],
    name: str,
    threshold: float,
) -> None:
    pruner = {
        "class": "StructureParameterPruner",
        "reg_regims": {name: [threshold, group_type]},
        "threshold_criteria": criterion,
    }
    scheduler = _scheduler(model, pruner)
    scheduler.on_epoch_begin(0)
    weight = np.abs(_weight(model, name))
    scores = weight.max(axes, keepdims=True)
    if criterion == "Mean_Abs":
        # Rows and Cols are divided by the other's count, as measured on the original.
        size = {"Rows": 5, "Cols": 8}.get(group_type, weight[0:1].size)
        size = {"2D": 9, "Channels": 72}.get(group_type, size)
        scores = weight.sum(axes, keepdims=True) / size
    assert np.array_equal(_mask(scheduler, name), np.broadcast_to(scores > threshold, weight.shape))


# Filters by activation, gradient, chance --------------------------------------------------


def _minibatches(n: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    return [
        (
            torch.randn(6, 3, 8, 8, generator=generator),
            torch.randint(0, 5, (6,), generator=generator),
        )
        for _ in range(n)
    ]


def _train_epoch(model: nn.Module, scheduler: CompressionScheduler, epoch: int, n: int = 3) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model.train()
    scheduler.on_epoch_begin(epoch, optimizer)
    for i, (x, y) in enumerate(_minibatches(n)):
        scheduler.on_minibatch_begin(epoch, i, n, optimizer)
        loss = functional.cross_entropy(model(x), y)
        answer = scheduler.before_backward_pass(epoch, i, n, loss, optimizer)
        optimizer.zero_grad()
        answer.backward()
        scheduler.before_parameter_optimization(epoch, i, n, optimizer)
        optimizer.step()
        scheduler.on_minibatch_end(epoch, i, n, optimizer)
    scheduler.on_epoch_end(epoch, optimizer)


@pytest.mark.parametrize(
    ("class_name", "extra", "is_highest_pruned"),
    [
        ("ActivationAPoZRankedFilterPruner", {}, True),
        ("ActivationMeanRankedFilterPruner", {}, False),
        ("ActivationMeanRankedFilterPruner", {"legacy_order": True}, True),
    ],
)
def test_filters_are_ranked_by_the_activations_of_the_epoch_before(
    model: Small, class_name: str, extra: dict[str, Any], is_highest_pruned: bool
) -> None:
    pruner = {
        "class": class_name,
        "group_type": "Filters",
        "desired_sparsity": 0.4,
        "weights": ["conv2.weight"],
        **extra,
    }
    scheduler = _scheduler(model, pruner, window={"epochs": [1]})
    seen: list[Array] = []
    hook = model.relu2.register_forward_hook(
        lambda module, inputs, output: seen.append(output.detach().numpy().copy())
    )
    _train_epoch(model, scheduler, 0)
    hook.remove()
    if "APoZ" in class_name:
        statistic = np.mean([(x == 0).mean((0, 2, 3)) for x in seen], axis=0)
    else:
        statistic = np.mean([x.mean((0, 2, 3)) for x in seen], axis=0)
    scheduler.on_epoch_begin(1)
    order = np.argsort(statistic)
    pruned = order[-3:] if is_highest_pruned else order[:3]
    keep = np.isin(np.arange(8), pruned, invert=True)
    weight = _weight(model, "conv2.weight")
    assert np.array_equal(_mask(scheduler, "conv2.weight"), _spread(keep, weight, 0))


def test_without_statistics_the_first_minibatches_serve(model: Small) -> None:
    pruner = {
        "class": "ActivationAPoZRankedFilterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.5,
        "weights": ["conv2.weight"],
    }
    scheduler = _scheduler(model, pruner, window={"epochs": [0]})
    _train_epoch(model, scheduler, 0)
    assert (~_mask(scheduler, "conv2.weight")[:, 0, 0, 0]).sum() == 4
    assert (_weight(model, "conv2.weight") == 0).mean() == 0.5


def test_the_gradient_ranker_prunes_the_lowest_signed_products(model: Small) -> None:
    pruner = {
        "class": "GradientRankedFilterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.4,
        "weights": ["conv2.weight"],
    }
    scheduler = _scheduler(model, pruner)
    scheduler.on_epoch_begin(0)
    assert scheduler.masks["conv2.weight"] is None  # no gradient yet
    ((x, y),) = _minibatches(1)
    functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]  # torch
    assert model.conv2.weight.grad is not None
    weight = _weight(model, "conv2.weight")
    products = (weight * model.conv2.weight.grad.numpy()).reshape(8, -1).sum(1)
    scheduler.on_epoch_begin(1)
    keep = np.isin(np.arange(8), np.argsort(-products)[-3:], invert=True)
    assert np.array_equal(_mask(scheduler, "conv2.weight"), _spread(keep, weight, 0))


def test_the_random_ranker_prunes_the_end_of_a_permutation(model: Small) -> None:
    pruner = {
        "class": "RandomRankedFilterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.4,
        "weights": ["conv2.weight"],
    }
    scheduler = _scheduler(model, pruner)
    np.random.seed(2)
    scheduler.on_epoch_begin(0)
    np.random.seed(2)
    keep = np.isin(np.arange(8), np.random.permutation(8)[-3:], invert=True)
    weight = _weight(model, "conv2.weight")
    assert np.array_equal(_mask(scheduler, "conv2.weight"), _spread(keep, weight, 0))


def test_bernoulli_keeps_filters_by_chance_and_scales_the_rest(model: Small) -> None:
    pruner = {
        "class": "BernoulliFilterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.4,
        "weights": ["conv2.weight"],
    }
    scheduler = _scheduler(model, pruner, {"use_double_copies": True, "mask_on_forward_only": True})
    torch.manual_seed(4)
    scheduler.on_epoch_begin(0)
    torch.manual_seed(4)
    keep = torch.bernoulli(torch.full((8,), 0.6)).numpy().astype(bool)
    weight = _weight(model, "conv2.weight")
    assert np.array_equal(_mask(scheduler, "conv2.weight"), _spread(keep, weight, 0))
    assert scheduler.mask_scales["conv2.weight"] == pytest.approx(8 / keep.sum())
    scheduler.on_minibatch_begin(0, 0, 1)
    masked = weight * keep[:, None, None, None] * (8 / keep.sum())
    assert np.allclose(_weight(model, "conv2.weight"), masked, rtol=1e-6)
    scheduler.before_parameter_optimization(0, 0, 1)
    assert np.array_equal(_weight(model, "conv2.weight"), weight)


@pytest.mark.parametrize(
    "class_name",
    [
        "ActivationAPoZRankedFilterPruner_AGP",
        "ActivationMeanRankedFilterPruner_AGP",
        "GradientRankedFilterPruner_AGP",
        "RandomRankedFilterPruner_AGP",
    ],
)
def test_gradual_filter_rankers_reach_the_final_sparsity(model: Small, class_name: str) -> None:
    pruner = {
        "class": class_name,
        "group_type": "Filters",
        "initial_sparsity": 0.1,
        "final_sparsity": 0.5,
        "weights": ["conv1.weight", "conv2.weight"],
        "group_dependency": "Group",
    }
    window = {"starting_epoch": 0, "ending_epoch": 4, "frequency": 1}
    scheduler = _scheduler(model, pruner, window=window)
    n_pruned = []
    for epoch in range(4):
        _train_epoch(model, scheduler, epoch)
        mask = scheduler.masks["conv2.weight"]
        n_pruned.append(0 if mask is None else int((~mask[:, 0, 0, 0]).sum()))
    # int(8 * (0.5 - 0.4 * (1 - e / 3)**3)) for e = 0..3
    assert n_pruned == [0, 3, 3, 4]
    one, two = _mask(scheduler, "conv1.weight"), _mask(scheduler, "conv2.weight")
    assert np.array_equal(one[:, 0, 0, 0], two[:, 0, 0, 0])


def test_gradual_bernoulli_draws_at_the_laws_probability(model: Small) -> None:
    pruner = {
        "class": "BernoulliFilterPruner_AGP",
        "group_type": "Filters",
        "initial_sparsity": 0.1,
        "final_sparsity": 0.6,
        "weights": ["conv1.weight", "conv2.weight"],
    }
    scheduler = _scheduler(model, pruner)
    for epoch in range(6):
        keep_probability = 1 - (0.6 - 0.5 * (1 - epoch / 5) ** 3)
        torch.manual_seed(epoch)
        scheduler.on_epoch_begin(epoch)
        torch.manual_seed(epoch)
        for name in ("conv1.weight", "conv2.weight"):
            keep = torch.bernoulli(torch.full((8,), keep_probability)).numpy().astype(bool)
            mask = _spread(keep, _weight(model, name), 0)
            assert np.array_equal(_mask(scheduler, name), mask), (epoch, name)
            assert scheduler.mask_scales[name] == pytest.approx(8 / keep.sum())


FILTER_RANKERS = [
    "L1RankedStructureParameterPruner",
    "L2RankedStructureParameterPruner",
    "ActivationAPoZRankedFilterPruner",
    "ActivationMeanRankedFilterPruner",
    "GradientRankedFilterPruner",
    "RandomRankedFilterPruner",
    "BernoulliFilterPruner",
]


@pytest.mark.parametrize("dependency", ["Leader", "Group"])
@pytest.mark.parametrize("class_name", FILTER_RANKERS)
def test_every_ranker_gives_the_members_one_mask(
    model: Small, class_name: str, dependency: str
) -> None:
    pruner = {
        "class": class_name,
        "group_type": "Filters",
        "desired_sparsity": 0.5,
        "weights": ["conv2.weight", "conv1.weight"],
        "group_dependency": dependency,
    }
    scheduler = _scheduler(model, pruner, window={"epochs": [1]})
    statistics: dict[str, list[Array]] = {"conv1.weight": [], "conv2.weight": []}
    hooks = [
        module.register_forward_hook(
            lambda m, x, out, name=name: statistics[name].append(out.detach().numpy().copy())
        )
        for name, module in (("conv1.weight", model.relu1), ("conv2.weight", model.relu2))
    ]
    _train_epoch(model, scheduler, 0)
    for hook in hooks:
        hook.remove()
    torch.manual_seed(4)
    np.random.seed(4)
    scheduler.on_epoch_begin(1)
    torch.manual_seed(4)
    np.random.seed(4)
    # What the score of a member is; a group adds them up, a leader's stands alone.
    scored: dict[str, Array] = {}
    for name in ("conv2.weight", "conv1.weight"):
        weight, outputs = dict(model.named_parameters())[name], statistics[name]
        if class_name.startswith(("L1", "L2")):
            scored[name] = _scores(weight.detach().numpy(), 0, int(class_name[1]))
        elif "APoZ" in class_name:
            scored[name] = -np.mean([(x == 0).mean((0, 2, 3)) for x in outputs], axis=0)
        elif "Mean" in class_name:
            scored[name] = np.mean([x.mean((0, 2, 3)) for x in outputs], axis=0)
        else:
            assert weight.grad is not None
            product = (weight.detach() * weight.grad).numpy()
            scored[name] = product.reshape(8, -1).sum(1)
    if class_name == "RandomRankedFilterPruner":
        keep = np.isin(np.arange(8), np.random.permutation(8)[-4:], invert=True)
    elif class_name == "BernoulliFilterPruner":
        keep = torch.bernoulli(torch.full((8,), 0.5)).numpy().astype(bool)
    else:
        total = scored["conv2.weight"] + (scored["conv1.weight"] if dependency == "Group" else 0.0)
        keep = np.isin(np.arange(8), np.argsort(total)[:4], invert=True)
    for name in statistics:
        assert np.array_equal(_mask(scheduler, name), _spread(keep, _weight(model, name), 0)), name


def test_reconstruction_refits_the_channels_that_stay(model: Small) -> None:
    pruner = {
        "class": "FMReconstructionChannelPruner",
        "group_type": "Channels",
        "desired_sparsity": 0.3,
        "weights": ["conv2.weight", "fc.weight"],
    }
    scheduler = _scheduler(model, pruner, window={"epochs": [1]})
    _train_epoch(model, scheduler, 0, n=20)
    before = {name: _weight(model, name) for name in ("conv2.weight", "fc.weight")}
    inputs = {name: scheduler.activations[f"{name}/inputs"].numpy() for name in before}
    scheduler.on_epoch_begin(1)
    for name, weight in before.items():
        n = math.floor(0.3 * weight.shape[1])
        keep = _keep(_scores(weight, 1, 1), n)
        assert np.array_equal(_mask(scheduler, name), _spread(keep, weight, 1)), name
        x = inputs[name].astype(np.float64)
        y = x @ weight.reshape(len(weight), -1).T.astype(np.float64)
        kept = x.reshape(len(x), weight.shape[1], -1)[:, keep].reshape(len(x), -1)
        best = np.linalg.lstsq(kept, y, rcond=None)[0]
        after = _weight(model, name)[:, keep].reshape(len(weight), -1).T
        error = np.square(kept @ after - y).mean()
        assert error <= np.square(kept @ best - y).mean() * (1 + 1e-4), name
        naive = weight[:, keep].reshape(len(weight), -1).T
        assert error < np.square(kept @ naive - y).mean(), name
