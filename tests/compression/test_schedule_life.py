"""The life of masks and policies, and each place where ours differs from the original."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from stillhouse_compression import (
    CompressionError,
    CompressionScheduler,
    ExtensionPolicy,
    KnowledgeDistillationPolicy,
    PruningPolicy,
    ScheduleError,
    TrainingDiverged,
    dict_config,
    sparsity,
    sparsity_table,
)
from stillhouse_compression.dataflow import following_batchnorms
from stillhouse_compression.schedule.pruners.level import SparsityLevelParameterPruner


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
        x = self.conv2(x).relu()
        y: Tensor = self.fc(x.mean(dim=(2, 3)))
        return y


@pytest.fixture
def model() -> Net:
    torch.manual_seed(3)
    return Net()


def _batches(n: int = 4) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(8)
    return [
        (
            torch.randn(8, 3, 8, 8, generator=generator),
            torch.randint(0, 4, (8,), generator=generator),
        )
        for _ in range(n)
    ]


class Run:
    """A training run that lets a test look in at every step."""

    def __init__(self, model: nn.Module, scheduler: CompressionScheduler, lr: float = 0.05) -> None:
        self.model = model
        self.scheduler = scheduler
        self.optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
        self.seen: list[tuple[int, int, dict[str, Tensor]]] = []
        self.masks: list[Tensor | None] = []

    def epoch(self, epoch: int, n: int = 4) -> None:
        scheduler, optimizer = self.scheduler, self.optimizer
        self.model.train()
        scheduler.on_epoch_begin(epoch, optimizer)
        for i, (x, y) in enumerate(_batches(n)):
            scheduler.on_minibatch_begin(epoch, i, n, optimizer)
            state = {k: p.detach().clone() for k, p in self.model.named_parameters()}
            self.seen.append((epoch, i, state))
            self.masks.append(scheduler.masks.get("conv2.weight"))
            loss = functional.cross_entropy(self.model(x), y)
            loss = scheduler.before_backward_pass(epoch, i, n, loss, optimizer)[0]
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it bare
            scheduler.before_parameter_optimization(epoch, i, n, optimizer)
            optimizer.step()
            scheduler.on_minibatch_end(epoch, i, n, optimizer)
        scheduler.on_epoch_end(epoch, optimizer, metrics={"min": 1.0, "max": 1.0})


def _schedule(
    pruners: Mapping[str, Any],
    policies: list[tuple[str, dict[str, Any], dict[str, Any]]],
    **sections: Any,
) -> dict[str, Any]:
    entries = [
        {"pruner": {"instance_name": name, "args": args}, **window}
        for name, args, window in policies
    ]
    return {"pruners": dict(pruners), "policies": entries, **sections}


def _level(**levels: float) -> dict[str, Any]:
    named = {name.replace("_", ".") + ".weight": level for name, level in levels.items()}
    return {"class": "SparsityLevelParameterPruner", "levels": named}


RANGE = {"starting_epoch": 0, "ending_epoch": 3, "frequency": 1}


# Life ---------------------------------------------------------------------------------------


def test_a_mask_is_made_at_the_epochs_begin_and_applied_at_the_minibatchs(model: Net) -> None:
    scheduler = dict_config(
        model, None, _schedule({"p": _level(conv2=0.5)}, [("p", {}, {"epochs": [0]})])
    )
    scheduler.on_epoch_begin(0)
    assert model.conv2.weight.all()
    scheduler.on_minibatch_begin(0, 0, 1)
    assert sparsity(model.conv2.weight) == 0.5


def test_masks_live_on_after_their_window(model: Net) -> None:
    scheduler = dict_config(
        model, None, _schedule({"p": _level(conv2=0.5)}, [("p", {}, {"epochs": [0]})])
    )
    run = Run(model, scheduler)
    for epoch in range(3):
        run.epoch(epoch)
    assert sparsity(model.conv2.weight) == 0.5


def test_the_last_of_two_pruners_on_one_tensor_wins(model: Net) -> None:
    pruners = {"a": _level(conv2=0.75), "b": _level(conv2=0.25)}
    policies: list[Any] = [("a", {}, {"epochs": [0]}), ("b", {}, {"epochs": [0]})]
    scheduler = dict_config(model, None, _schedule(pruners, policies))
    scheduler.on_epoch_begin(0)
    mask = scheduler.masks["conv2.weight"]
    assert mask is not None
    assert mask.float().mean() == 0.75


def test_masks_on_the_forward_pass_only_let_weights_learn(model: Net) -> None:
    args = {"mask_on_forward_only": True}
    scheduler = dict_config(
        model, None, _schedule({"p": _level(conv2=0.5)}, [("p", args, {"epochs": [0]})])
    )
    run = Run(model, scheduler)
    run.epoch(0)
    assert all(sparsity(state["conv2.weight"]) == 0.5 for _, _, state in run.seen)
    assert sparsity(model.conv2.weight) < 0.1


def test_double_copies_bring_the_unmasked_weights_back(model: Net) -> None:
    args = {"use_double_copies": True, "mask_on_forward_only": True}
    scheduler = dict_config(
        model, None, _schedule({"p": _level(conv2=0.5)}, [("p", args, {"epochs": [0]})])
    )
    before = model.conv2.weight.detach().clone()
    scheduler.on_epoch_begin(0)
    scheduler.on_minibatch_begin(0, 0, 1)
    assert sparsity(model.conv2.weight) == 0.5
    scheduler.before_parameter_optimization(0, 0, 1)
    assert torch.equal(model.conv2.weight, before)


def test_two_policies_with_double_copies_both_restore(model: Net) -> None:
    args = {"use_double_copies": True, "mask_on_forward_only": True}
    pruners = {"a": _level(conv1=0.5), "b": _level(conv2=0.5)}
    policies = [("a", args, RANGE), ("b", args, RANGE)]
    scheduler = dict_config(model, None, _schedule(pruners, policies))
    before = [model.conv1.weight.detach().clone(), model.conv2.weight.detach().clone()]
    scheduler.on_epoch_begin(0)
    scheduler.on_minibatch_begin(0, 0, 1)
    assert sparsity(model.conv1.weight) == sparsity(model.conv2.weight) == 0.5
    scheduler.before_parameter_optimization(0, 0, 1)
    assert torch.equal(model.conv1.weight, before[0])
    assert torch.equal(model.conv2.weight, before[1])


def test_masked_gradients_are_zero_where_weights_are_masked(model: Net) -> None:
    args = {"mask_on_forward_only": True, "mask_gradients": True}
    scheduler = dict_config(
        model, None, _schedule({"p": _level(conv2=0.5)}, [("p", args, {"epochs": [0]})])
    )
    run = Run(model, scheduler)
    run.epoch(0)
    mask = scheduler.masks["conv2.weight"]
    assert mask is not None
    assert model.conv2.weight.grad is not None
    assert not model.conv2.weight.grad[~mask].any()
    run.epoch(1)  # the window is over: gradients are whole again
    assert model.conv2.weight.grad[~mask].any()


def test_new_masks_come_every_kth_minibatch_of_the_run(model: Net) -> None:
    args = {"mini_batch_pruning_frequency": 3, "mask_on_forward_only": True}
    scheduler = dict_config(model, None, _schedule({"p": _level(conv2=0.5)}, [("p", args, RANGE)]))
    run = Run(model, scheduler, lr=1.0)
    for epoch in range(3):
        run.epoch(epoch)
    found = [i for i in range(1, 12) if run.masks[i] is not run.masks[i - 1]]
    assert found == [3, 4, 6, 8, 9]  # multiples of 3, and the epochs' first minibatches


def test_discarded_masks_are_gone_after_the_minibatch(model: Net) -> None:
    args = {
        "discard_masks_at_minibatch_end": True,
        "mask_on_forward_only": True,
        "mini_batch_pruning_frequency": 2,
        "use_double_copies": True,
    }
    scheduler = dict_config(
        model, None, _schedule({"p": _level(conv2=0.5)}, [("p", args, {"epochs": [0]})])
    )
    run = Run(model, scheduler)
    run.epoch(0)
    found = [sparsity(state["conv2.weight"]) for _, _, state in run.seen]
    assert found == [0.5, 0.0, 0.5, 0.0]
    assert scheduler.masks["conv2.weight"] is None


def test_skipping_the_first_minibatch_makes_the_mask_in_the_second(model: Net) -> None:
    args = {"skip_first_minibatch": True}
    scheduler = dict_config(
        model, None, _schedule({"p": _level(conv2=0.5)}, [("p", args, {"epochs": [0]})])
    )
    run = Run(model, scheduler)
    run.epoch(0)
    found = [sparsity(state["conv2.weight"]) for _, _, state in run.seen]
    assert found == [0.0, 0.5, 0.5, 0.5]


def test_a_regularisers_mask_zeroes_and_is_dropped_unless_it_is_kept(model: Net) -> None:
    lasso = {
        "class": "GroupLassoRegularizer",
        "threshold_criteria": "Mean_Abs",
        "reg_regims": {"conv2.weight": [0.005, "Filters"]},
    }
    schedule: dict[str, Any] = {"regularizers": {"r": lasso}}
    schedule["policies"] = [
        {"regularizer": {"instance_name": "r", "args": {"keep_mask": True}}, **RANGE}
    ]
    with torch.no_grad():
        model.conv2.weight[:2] *= 0.01
    run = Run(model, dict_config(model, None, schedule))
    run.epoch(0)
    run.epoch(1)
    assert sparsity(model.conv2.weight) == 0.25
    assert run.scheduler.masks["conv2.weight"] is None
    run.epoch(2)
    mask = run.scheduler.masks["conv2.weight"]
    assert mask is not None
    assert mask.float().mean() == 0.75
    run.epoch(3)
    assert not model.conv2.weight.detach()[~mask].any()


def test_the_loss_components_add_up(model: Net) -> None:
    schedule = {
        "regularizers": {
            "a": {"class": "L1Regularizer", "reg_regims": {"fc.weight": 0.5}},
            "b": {
                "class": "GroupVarianceRegularizer",
                "reg_regims": {"conv2.weight": [1e-4, "Channels"]},
            },
        },
        "policies": [
            {"regularizer": {"instance_name": name}, "epochs": [0]} for name in ("a", "b")
        ],
    }
    scheduler = dict_config(model, None, schedule)
    scheduler.on_epoch_begin(0)
    overall, components = scheduler.before_backward_pass(0, 0, 1, torch.tensor(2.0))
    assert [c.name for c in components] == ["L1Regularizer_loss", "GroupVarianceRegularizer_loss"]
    l1 = 0.5 * np.abs(model.fc.weight.detach().numpy()).sum()
    assert components[0].value.item() == pytest.approx(l1, rel=1e-6)
    norms = np.sqrt(np.square(model.conv2.weight.detach().numpy()).sum((0, 2, 3)))
    assert components[1].value.item() == pytest.approx(1e-4 / np.var(norms, ddof=1), rel=1e-4)
    assert overall.item() == pytest.approx(2.0 + sum(c.value.item() for c in components))


def test_l1_with_a_threshold_zeroes_what_is_not_above_the_strength(model: Net) -> None:
    schedule = {
        "regularizers": {
            "a": {
                "class": "L1Regularizer",
                "reg_regims": {"fc.weight": 0.1},
                "threshold_criteria": "Max",
            }
        },
        "policies": [{"regularizer": {"instance_name": "a"}, "epochs": [0]}],
    }
    scheduler = dict_config(model, None, schedule)
    before = model.fc.weight.detach().clone()
    scheduler.on_epoch_begin(0)
    scheduler.on_minibatch_end(0, 0, 2)
    assert torch.equal(model.fc.weight, before * (before.abs() > 0.1))
    assert scheduler.masks["fc.weight"] is None


def test_dropfilter_drops_for_one_minibatch_and_scales_the_gradient(model: Net) -> None:
    schedule = {
        "regularizers": {
            "d": {
                "class": "DropFilterRegularizer",
                "reg_regims": {"conv2.weight": 0.5},
                "frequency": 2,
            }
        },
        "policies": [{"regularizer": {"instance_name": "d"}, "epochs": [0]}],
    }
    scheduler = dict_config(model, None, schedule)
    before = model.conv2.weight.detach().clone()
    np.random.seed(6)
    scheduler.on_epoch_begin(0)
    scheduler.on_minibatch_begin(0, 0, 4)
    assert torch.equal(model.conv2.weight, before)
    scheduler.on_minibatch_begin(0, 1, 4)
    np.random.seed(6)
    keep = np.random.binomial(1, 0.5, 8).astype(bool)
    kept = before.numpy() * keep[:, None, None, None]
    share = max(0.2, np.abs(kept).sum() / np.abs(before.numpy()).sum())
    assert np.allclose(model.conv2.weight.detach().numpy(), kept / share, rtol=1e-5)
    model.conv2.weight.grad = torch.ones_like(before)
    scheduler.before_parameter_optimization(0, 1, 4)
    assert torch.equal(model.conv2.weight, before)
    factors = np.unique(model.conv2.weight.grad[:, 0, 0, 0].numpy().round(5))
    assert factors == pytest.approx([0.0, 1 / share], abs=1e-4)


# Differences --------------------------------------------------------------------------------


def test_flags_belong_to_the_policys_own_parameters(model: Net) -> None:
    pruners = {"a": _level(conv1=0.5), "b": _level(conv2=0.5)}
    policies = [("a", {}, {"epochs": [0]}), ("b", {"mask_on_forward_only": True}, {"epochs": [0]})]
    run = Run(model, dict_config(model, None, _schedule(pruners, policies)))
    run.epoch(0)
    assert sparsity(model.conv1.weight) == 0.5
    assert sparsity(model.conv2.weight) < 0.1


def test_masks_are_final_after_the_last_active_epoch_of_any_window(model: Net) -> None:
    window = {"starting_epoch": 0, "ending_epoch": 4, "frequency": 2}  # active in 0 and 2
    args = {"mask_on_forward_only": True, "keep_mask": True}
    run = Run(
        model, dict_config(model, None, _schedule({"p": _level(conv2=0.5)}, [("p", args, window)]))
    )
    for epoch in range(4):
        run.epoch(epoch)
        assert (sparsity(model.conv2.weight) == 0.5) == (epoch >= 2), epoch


@pytest.mark.parametrize("dependency", [None, "Leader", "Group"])
def test_a_sparsity_too_small_to_prune_anything_prunes_nothing_yet(
    model: Net, dependency: str | None
) -> None:
    pruner = {
        "class": "L1RankedStructureParameterPruner_AGP",
        "group_type": "Filters",
        "group_dependency": dependency,
        "initial_sparsity": 0,
        "final_sparsity": 0.5,
        "weights": ["conv1.weight", "conv2.weight"],
    }
    scheduler = dict_config(model, None, _schedule({"p": pruner}, [("p", {}, RANGE)]))
    scheduler.on_epoch_begin(0)
    assert scheduler.masks["conv1.weight"] is None
    scheduler.on_epoch_begin(2)
    mask = scheduler.masks["conv1.weight"]
    assert mask is not None
    assert mask.float().mean() == 0.5


def test_a_masked_batchnorm_makes_a_pruned_filter_say_nothing(model: Net) -> None:
    pruner = {
        "class": "L1RankedStructureParameterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.5,
        "weights": ["conv1.weight", "conv2.weight"],
        "mask_batchnorm": True,
    }
    scheduler = dict_config(model, None, _schedule({"p": pruner}, [("p", {}, {"epochs": [0]})]))
    nn.init.uniform_(model.bn1.bias, 0.5, 1.0)
    run = Run(model, scheduler)
    run.epoch(0)
    run.epoch(1)
    pruned = (model.conv1.weight.detach() == 0).flatten(1).all(dim=1)
    assert int(pruned.sum()) == 4
    assert not model.bn1.weight.detach()[pruned].any()
    assert not model.bn1.bias.detach()[pruned].any()
    assert model.bn1.bias.detach()[~pruned].all()
    # conv2 has no BatchNorm behind it: its own bias is what it would still say.
    pruned = (model.conv2.weight.detach() == 0).flatten(1).all(dim=1)
    assert model.conv2.bias is not None
    assert torch.equal(model.conv2.bias.detach() == 0, pruned)


def test_without_it_the_batchnorm_stays_as_it_is(model: Net) -> None:
    pruner = {
        "class": "L1RankedStructureParameterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.5,
        "weights": ["conv1.weight"],
    }
    scheduler = dict_config(model, None, _schedule({"p": pruner}, [("p", {}, {"epochs": [0]})]))
    scheduler.on_epoch_begin(0)
    assert scheduler.masks["bn1.weight"] is None


def test_nan_weights_are_a_divergence_not_sparsity(model: Net) -> None:
    scheduler = dict_config(model, None, _schedule({"p": _level(conv2=0.5)}, [("p", {}, RANGE)]))
    with torch.no_grad():
        model.conv2.weight[0, 0, 0, 0] = math.nan
    with pytest.raises(TrainingDiverged, match=r"conv2\.weight has NaN weights in epoch 0"):
        scheduler.on_epoch_begin(0)
    with pytest.raises(TrainingDiverged):
        sparsity(model.conv2.weight)


def test_masks_cost_at_most_a_byte_a_weight(model: Net) -> None:
    pruner = {
        "class": "L1RankedStructureParameterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.5,
        "weights": ["conv2.weight"],
    }
    schedule = _schedule(
        {"p": pruner, "q": _level(fc=0.5)}, [("p", {}, {"epochs": [0]}), ("q", {}, {"epochs": [0]})]
    )
    scheduler = dict_config(model, None, schedule)
    scheduler.on_epoch_begin(0)
    filters, elements = scheduler.masks["conv2.weight"], scheduler.masks["fc.weight"]
    assert filters is not None
    assert elements is not None
    assert filters.untyped_storage().nbytes() == 8  # one byte a filter
    assert elements.untyped_storage().nbytes() == model.fc.weight.numel()


def test_a_state_of_another_network_is_refused(model: Net) -> None:
    schedule = _schedule({"p": _level(conv2=0.5)}, [("p", {}, RANGE)])
    state = dict_config(model, None, schedule).state_dict()
    other = nn.Sequential(nn.Conv2d(3, 8, 3))
    with pytest.raises(CompressionError, match="no mask entry for"):
        CompressionScheduler(other).load_state_dict(state)
    with pytest.raises(CompressionError, match="masks_dict is missing"):
        CompressionScheduler(other).load_state_dict({})


def test_the_originals_saved_masks_load_as_booleans(model: Net) -> None:
    masks: dict[str, Tensor | None] = {f"module.{k}": None for k, _ in model.named_parameters()}
    masks["module.fc.weight"] = torch.ones(4, 8).triu()
    scheduler = CompressionScheduler(model)
    scheduler.load_state_dict({"masks_dict": masks}, normalize_dataparallel_keys=True)
    mask = scheduler.masks["fc.weight"]
    assert mask is not None
    assert mask.dtype == torch.bool
    assert torch.equal(mask.float(), torch.ones(4, 8).triu())


def test_the_state_survives_a_safe_load(model: Net) -> None:
    pruner = {
        "class": "RandomRankedFilterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.5,
        "weights": ["conv2.weight"],
    }
    scheduler = dict_config(model, None, _schedule({"p": pruner}, [("p", {}, RANGE)]))
    scheduler.on_epoch_begin(0)
    buffer = io.BytesIO()
    torch.save(scheduler.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    assert set(state) >= {"masks_dict", "flags", "random"}


def test_masks_and_leaders_are_cut_along_with_parameters(model: Net) -> None:
    pruner = {
        "class": "L1RankedStructureParameterPruner",
        "group_type": "Filters",
        "group_dependency": "Leader",
        "desired_sparsity": 0.5,
        "weights": ["conv2.weight", "conv1.weight"],
    }
    args = {"mask_on_forward_only": True, "mask_gradients": True}
    scheduler = dict_config(model, None, _schedule({"p": pruner}, [("p", args, RANGE)]))
    scheduler.on_epoch_begin(0)
    before = scheduler.masks["conv1.weight"]
    assert before is not None
    kept = torch.tensor([0, 2, 3, 5, 7])
    for module, dims in ((model.conv1, (0,)), (model.conv2, (0, 1))):
        weight = module.weight.detach()
        for dim in dims:
            weight = weight.index_select(dim, kept)
        module.weight = nn.Parameter(weight)
    scheduler.on_parameters_cut(
        {"conv1.weight": [(0, kept)], "conv2.weight": [(0, kept), (1, kept)]}
    )
    after = scheduler.masks["conv1.weight"]
    assert after is not None
    assert torch.equal(after, before[kept])
    # The same target again: the leader's verdict, cut, not a new ranking.
    scheduler.on_epoch_begin(1)
    again = scheduler.masks["conv1.weight"]
    assert again is not None
    assert torch.equal(again, before[kept])
    # Gradients of the new parameter are masked, too.
    (model.conv1.weight * 1.0).sum().backward()  # type: ignore[no-untyped-call]  # torch
    assert model.conv1.weight.grad is not None
    assert torch.equal(model.conv1.weight.grad.bool(), again)


def test_thinning_sees_neither_dropped_filters_nor_misses_the_optimizer(model: Net) -> None:
    class Looker:
        def __init__(self) -> None:
            self.seen: list[tuple[float, object]] = []

        def on_minibatch_begin(self, *arguments: Any) -> None:
            net, optimizer = arguments[0], arguments[5]
            self.seen.append((sparsity(net.conv2.weight), optimizer))

    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    drop = {"class": "DropFilterRegularizer", "reg_regims": {"conv2.weight": 0.5}, "frequency": 1}
    policies = [{"regularizer": {"instance_name": "d"}, "epochs": [0]}]
    schedule = {"regularizers": {"d": drop}, "policies": policies}
    scheduler = dict_config(model, optimizer, schedule)
    looker = Looker()
    scheduler.add_policy(ExtensionPolicy(looker), epochs=[0])
    np.random.seed(0)
    scheduler.on_epoch_begin(0)
    scheduler.on_minibatch_begin(0, 0, 1)  # the caller names no optimizer
    assert looker.seen == [(0.0, optimizer)]
    assert sparsity(model.conv2.weight) > 0


def test_following_batchnorms_come_from_the_forward_pass() -> None:
    class Swapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn_b = nn.BatchNorm2d(4)
            self.bn_a = nn.BatchNorm2d(4)
            self.conv_a = nn.Conv2d(4, 4, 1)
            self.conv_b = nn.Conv2d(4, 4, 1)
            self.last = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.last(self.bn_b(self.conv_b(self.bn_a(self.conv_a(x)))))
            return y

    class Untraceable(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() > 0 else super().forward(-x)

    assert following_batchnorms(Swapped()) == {
        "conv_a": ("bn_a",),
        "conv_b": ("bn_b",),
        "last": (),
    }
    assert following_batchnorms(Untraceable()) == {"conv1": ("bn1",), "conv2": ()}


def test_policies_can_be_made_in_code(model: Net) -> None:
    scheduler = CompressionScheduler(model)
    pruner = SparsityLevelParameterPruner("p", {"conv2.weight": 0.5})
    scheduler.add_policy(PruningPolicy(pruner, None), epochs=[0, 2])
    scheduler.on_epoch_begin(0)
    scheduler.mask_all_weights()
    assert sparsity(model.conv2.weight) == 0.5
    with pytest.raises(CompressionError, match="starting_epoch=3"):
        scheduler.add_policy(PruningPolicy(pruner), starting_epoch=3, ending_epoch=3)


def test_code_of_the_original_changes_only_its_import(model: Net) -> None:
    from stillhouse_compression import (
        ActivationAPoZRankedFilterPruner,
        GroupLassoRegularizer,
        L1RankedStructureParameterPruner,
        RegularizationPolicy,
    )

    scheduler = CompressionScheduler(model)
    filters = L1RankedStructureParameterPruner(
        name="filters", group_type="Filters", desired_sparsity=0.5, weights=["conv2.weight"]
    )
    idle = ActivationAPoZRankedFilterPruner(
        "idle", group_type="Filters", desired_sparsity=0.25, weights=["conv1.*"], model=model
    )
    lasso = GroupLassoRegularizer("lasso", reg_regims={"fc.weight": [0.1, "Cols"]}, model=model)
    scheduler.add_policy(PruningPolicy(filters, {"mask_on_forward_only": True}), epochs=[0])
    scheduler.add_policy(PruningPolicy(idle, None), epochs=[1])
    scheduler.add_policy(RegularizationPolicy(lasso), starting_epoch=0, ending_epoch=2)
    run = Run(model, scheduler)
    for epoch in range(2):
        run.epoch(epoch)
    masks = {name: mask for name, mask in scheduler.masks.items() if mask is not None}
    assert {name: float(mask.float().mean()) for name, mask in masks.items()} == {
        "conv1.weight": 0.75,  # ranked by statistics that were gathered unasked
        "conv2.weight": 0.5,
    }
    assert len(scheduler.state_dict()["components"]) == 2


def test_code_gets_the_errors_of_a_schedule(model: Net) -> None:
    import stillhouse_compression as distiller

    with pytest.raises(ScheduleError, match=r"did you mean 'weights'.*\n.*p\.desired_sparsity"):
        distiller.L2RankedStructureParameterPruner(
            "p", group_type="Filters", desired_sparsity=2, weihgts=["conv1.weight"]
        )
    with pytest.raises(ScheduleError, match="Filters need a convolution"):
        distiller.L2RankedStructureParameterPruner(
            "p", group_type="Filters", desired_sparsity=0.5, weights=["fc.weight"], model=model
        )
    with pytest.raises(ScheduleError, match="give model="):
        distiller.FMReconstructionChannelPruner(
            "p", group_type="Channels", desired_sparsity=0.5, weights=["conv1.weight"]
        )
    with pytest.raises(AttributeError, match="NoSuchPruner"):
        _ = distiller.NoSuchPruner


def test_distillation_catches_the_networks_own_call(model: Net) -> None:
    schedule = {
        "policies": [],
        "distillation": {"temperature": 2.0, "weights": {"distill": 0.7, "student": 0.3}},
    }
    scheduler = dict_config(model, None, schedule)
    run = Run(model, scheduler)
    run.epoch(0)
    ((x, y),) = _batches(1)
    scheduler.on_epoch_begin(1)
    out = model(x)
    loss = functional.cross_entropy(out, y)
    overall, (component,) = scheduler.before_backward_pass(1, 0, 1, loss)
    torch.manual_seed(3)
    teacher = Net().eval()
    s, t = out.detach().double().numpy() / 2, teacher(x).detach().double().numpy() / 2
    log_s = s - np.log(np.exp(s).sum(1, keepdims=True))
    log_t = t - np.log(np.exp(t).sum(1, keepdims=True))
    divergence = (np.exp(log_t) * (log_t - log_s)).sum() / len(x)
    assert component.value.item() == pytest.approx(divergence, rel=1e-3)
    assert overall.item() == pytest.approx(0.3 * loss.item() + 0.7 * 4 * divergence, rel=1e-5)
    assert model.training
    scheduler.on_epoch_end(1)
    assert not model._forward_hooks


def test_distillation_without_a_forward_pass_says_so(model: Net) -> None:
    scheduler = CompressionScheduler(model)
    scheduler.add_policy(KnowledgeDistillationPolicy(model, Net()), epochs=[0])
    scheduler.on_epoch_begin(0)
    with pytest.raises(CompressionError, match="saw no outputs"):
        scheduler.before_backward_pass(0, 0, 1, torch.tensor(1.0))


@pytest.mark.parametrize(
    ("class_name", "args"),
    [
        ("ConstantLR", {"factor": 0.5, "total_iters": 3}),
        ("LinearLR", {"start_factor": 0.25, "total_iters": 4}),
        ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}),
        ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 2}),
        ("OneCycleLR", {"max_lr": 0.1, "total_steps": 10}),
    ],
)
def test_torchs_other_rates_are_those_of_stepping_every_epoch(
    model: Net, class_name: str, args: dict[str, Any]
) -> None:
    optimizers = [torch.optim.SGD(model.parameters(), 0.1, momentum=0.9) for _ in range(2)]
    schedule = {
        "lr_schedulers": {"x": {"class": class_name, **args}},
        "policies": [
            {
                "lr_scheduler": {"instance_name": "x"},
                "starting_epoch": 0,
                "ending_epoch": 9,
                "frequency": 1,
            }
        ],
    }
    scheduler = dict_config(model, optimizers[0], schedule)
    reference = getattr(lr_scheduler, class_name)(optimizers[1], **args)
    for epoch in range(9):
        scheduler.on_epoch_begin(epoch)
        for optimizer in optimizers:
            optimizer.step()
        reference.step()
        scheduler.on_epoch_end(epoch, optimizers[0])
        rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
        assert rates[0] == pytest.approx(rates[1], rel=1e-9), epoch


def test_plateaus_without_metrics_say_what_is_missing(model: Net) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    schedule = {
        "lr_schedulers": {"x": {"class": "ReduceLROnPlateau"}},
        "policies": [{"lr_scheduler": {"instance_name": "x"}, "epochs": [0]}],
    }
    scheduler = dict_config(model, optimizer, schedule)
    with pytest.raises(CompressionError, match=r"metrics\['min'\]"):
        scheduler.on_epoch_end(0, optimizer)


def test_the_sparsity_table_counts_layer_by_layer(model: Net) -> None:
    with torch.no_grad():
        model.conv2.weight[:2] = 0.0
        model.fc.weight[:, 3] = 0.0
    table = sparsity_table(model, (3, 8, 8))
    rows = {row.name: row for row in table.rows}
    assert rows["conv2.weight"].filters == 0.25
    assert rows["conv2.weight"].element == 0.25
    assert rows["conv2.weight"].nonzero == 6 * 72
    assert rows["conv2.weight"].macs == 8 * 8 * 8 * 72
    assert rows["conv2.weight"].params == 8 * 72 + 8
    assert rows["fc.weight"].channels == rows["fc.weight"].rows == 1 / 8
    assert rows["fc.weight"].cols == rows["conv2.weight"].rows == 0.0
    assert rows["conv2.weight"].kernels == 0.25
    parsed = json.loads(table.to_json())
    assert parsed["layers"][1]["shape"] == [8, 8, 3, 3]
    assert "conv2.weight" in table.to_text()
    assert parsed["total"] == pytest.approx((2 * 72 + 4) / (216 + 576 + 32))


def test_the_sparsity_table_as_pandas(model: Net) -> None:
    frame = sparsity_table(model).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["name"]) == ["conv1.weight", "conv2.weight", "fc.weight"]
