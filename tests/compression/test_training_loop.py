"""The training loop, BatchNorm's statistics, layer tables: against plain torch and by hand."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stillhouse_compression import check_schedule, datasets, dict_config
from stillhouse_compression.batchnorm import recalibrate_batchnorm
from stillhouse_compression.datasets import Dataset
from stillhouse_compression.errors import Cancelled, TrainingDiverged
from stillhouse_compression.evaluate import evaluate
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.layers import layer_table
from stillhouse_compression.models.resnet import CifarResNet
from stillhouse_compression.thinning import thin
from stillhouse_compression.train import Images, Trainer
from stillhouse_compression.training import TrainingSettings

CPU = torch.device("cpu")


def few(n: int = 32) -> Dataset:
    """The first digits of each split."""
    data = datasets.load("digits")
    return replace(
        data,
        images={split: images[:n] for split, images in data.images.items()},
        labels={split: labels[:n] for split, labels in data.labels.items()},
    )


class Tiny(nn.Module):
    """A convolution with BatchNorm and a linear layer: a step is quick."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(self.bn(self.conv(x)).relu().mean((2, 3)))
        return out


def plain(**settings: Any) -> TrainingSettings:
    return TrainingSettings.from_mapping({"augment": False, "lr_schedule": "constant"} | settings)


def test_an_epoch_takes_the_steps_that_plain_torch_takes() -> None:
    """The order of images is the one thing taken from the loop: same generator, same seed."""
    data = few(20)
    settings = plain(batch_size=8, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    torch.manual_seed(0)
    model = Tiny()
    torch.manual_seed(0)
    twin = Tiny()
    result = Trainer(model, Images(data, "train", CPU), settings, 1, 5, Hooks()).run_epoch(0)

    mean, std = np.array(data.mean)[:, None, None], np.array(data.std)[:, None, None]
    x = torch.tensor((data.images["train"] / 255.0 - mean) / std, dtype=torch.float32)
    y = torch.tensor(data.labels["train"])
    order = torch.randperm(20, generator=torch.Generator().manual_seed(5))
    optimizer = torch.optim.SGD(
        twin.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01
    )
    losses = []
    for chosen in (order[:8], order[8:16], order[16:]):
        loss = nn.functional.cross_entropy(twin(x[chosen]), y[chosen])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)
    assert result.loss == pytest.approx(sum(losses) / 3, rel=1e-5)
    assert result.lr == 0.1


def test_the_same_seed_trains_to_the_same_bits() -> None:
    def train(seed: int) -> Tensor:
        torch.manual_seed(0)
        model = Tiny()
        settings = TrainingSettings.from_mapping({"batch_size": 8})
        trainer = Trainer(model, Images(few(), "train", CPU), settings, 2, seed, Hooks())
        for epoch in range(2):
            trainer.run_epoch(epoch)
        return model.conv.weight.detach()

    assert torch.equal(train(1), train(1))
    assert not torch.equal(train(1), train(2))


def test_a_loss_that_explodes_is_an_error_that_says_so() -> None:
    trainer = Trainer(
        Tiny(), Images(few(), "train", CPU), plain(lr=1e30, batch_size=8), 3, 0, Hooks()
    )
    with pytest.raises(TrainingDiverged, match="training diverged") as caught:
        for epoch in range(3):
            trainer.run_epoch(epoch)
    assert caught.value.failure_class == "diverged"


def test_cancelling_ends_the_epoch_at_the_next_minibatch() -> None:
    asked: list[int] = []

    def is_cancelled() -> bool:
        asked.append(1)
        return len(asked) == 3

    hooks = Hooks(is_cancelled=is_cancelled)
    trainer = Trainer(Tiny(), Images(few(), "train", CPU), plain(batch_size=8), 1, 0, hooks)
    with pytest.raises(Cancelled):
        trainer.run_epoch(0)
    assert len(asked) == 3


def test_no_batch_has_a_single_image() -> None:
    """33 images in batches of 16: the last image would be alone, and is left for another epoch."""
    sizes: list[int] = []
    model = Tiny()
    trainer = Trainer(model, Images(few(33), "train", CPU), plain(batch_size=16), 1, 0, Hooks())
    model.register_forward_hook(lambda _, args, out: sizes.append(len(args[0])))
    trainer.run_epoch(0)
    assert sizes == [16, 16]


def test_an_epoch_of_a_quarter_of_the_images_sees_others_each_time() -> None:
    seen: list[set[float]] = []
    model = Tiny()
    data = few(32)
    # Every image is one grey value of its own, so that a batch tells which images are in it.
    greys = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None, None], (32, 3, 32, 32))
    data = replace(data, images=dict(data.images) | {"train": greys.copy()})
    settings = plain(batch_size=8, effective_train_size=0.25)
    trainer = Trainer(model, Images(data, "train", CPU), settings, 2, 0, Hooks())
    model.register_forward_hook(lambda _, args, out: seen.append(set(args[0][:, 0, 0, 0].tolist())))
    trainer.run_epoch(0)
    trainer.run_epoch(1)
    assert [len(values) for values in seen] == [8, 8]
    assert seen[0] != seen[1]


@pytest.mark.parametrize("augment", [True, False])
def test_every_layer_gets_channels_last_but_a_strided_point_gets_plain(augment: bool) -> None:
    """Torch's backward pass of strided 1x1 is not safe there (test_narrow_convolutions.py)."""
    layouts: dict[str, list[bool]] = {"conv": [], "point": [], "bn": []}
    model = nn.Sequential()
    model.add_module("conv", nn.Conv2d(3, 4, 3, stride=2, bias=False))
    model.add_module("point", nn.Conv2d(4, 4, 1, stride=2, bias=False))
    model.add_module("bn", nn.BatchNorm2d(4))
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flat", nn.Flatten())
    model.add_module("fc", nn.Linear(4, 10))
    settings = plain(batch_size=8, augment=augment)
    trainer = Trainer(model, Images(few(), "train", CPU), settings, 1, 0, Hooks())
    for name, seen in layouts.items():
        model.get_submodule(name).register_forward_hook(
            lambda _, args, out, seen=seen: seen.append(
                args[0].is_contiguous(memory_format=torch.channels_last)
            )
        )
    trainer.run_epoch(0)
    evaluate(model, Images(few(), "validation", CPU), Hooks())
    recalibrate_batchnorm(model, trainer.training_batches(8))
    assert [len(seen) > 5 for seen in layouts.values()] == [True] * 3
    assert all(layouts["conv"]) and all(layouts["bn"]) and not any(layouts["point"])


def test_evaluation_counts_what_numpy_counts() -> None:
    torch.manual_seed(0)
    model = Tiny().train()
    data = few(30)
    images = Images(data, "validation", CPU)
    found = evaluate(model, images, Hooks(), batch_size=7)
    assert model.training
    with torch.no_grad():
        logits = model.eval()(images.normalise(images.take(slice(None)))).numpy()
    labels = data.labels["validation"]
    order = np.argsort(-logits, axis=1)
    assert found.top1 == pytest.approx((order[:, 0] == labels).mean())
    assert found.top5 == pytest.approx((order[:, :5] == labels[:, None]).any(axis=1).mean())
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    chance = shifted[np.arange(30), labels] / shifted.sum(axis=1)
    assert found.loss == pytest.approx(-np.log(chance).mean(), rel=1e-5)


def test_recalibration_replaces_statistics_by_averages_over_batches() -> None:
    bn = nn.BatchNorm1d(2)
    model = nn.Sequential(nn.Dropout(0.9), bn)
    assert bn.running_mean is not None and bn.running_var is not None
    bn.running_mean.fill_(99.0)
    batches = [torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[5.0, 0.0], [7.0, 0.0]])]
    assert recalibrate_batchnorm(model, batches) == 2
    assert bn.running_mean.tolist() == pytest.approx([4.0, 1.0])
    assert bn.running_var.tolist() == pytest.approx([2.0, 4.0])  # unbiased: (2 + 2)/2, (8 + 0)/2
    assert bn.momentum == 0.1 and model.training


def test_recalibration_without_batches_leaves_the_statistics() -> None:
    model = nn.BatchNorm1d(2)
    assert model.running_mean is not None
    model.running_mean.fill_(5.0)
    assert recalibrate_batchnorm(model, []) == 0
    assert model.running_mean.tolist() == [5.0, 5.0]


def test_a_layer_table_counts_macs_zeros_and_parameters() -> None:
    first = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2)
    model = nn.Sequential(first, nn.Flatten(), nn.Linear(8 * 16, 5))
    with torch.no_grad():
        first.weight[0] = 0.0
    conv, linear = layer_table(model, (4, 8, 8))
    assert conv.macs == 4 * 4 * 8 * (4 // 2) * 9  # 4x4 outputs of 8 filters over 2 channels
    assert conv.params == 8 * 2 * 9 + 8
    assert conv.n_zero == 18 and conv.sparsity == pytest.approx(1 / 8)
    assert (linear.macs, linear.params, linear.shape) == (640, 645, (5, 128))


def _schedule(fine: bool) -> dict[str, Any]:
    def ranked(weights: list[str], group: bool) -> dict[str, Any]:
        pruner: dict[str, Any] = {
            "class": "L1RankedStructureParameterPruner_AGP",
            "group_type": "Filters",
            "initial_sparsity": 0.1,
            "final_sparsity": 0.5,
            "mask_batchnorm": True,
            "weights": weights,
        }
        return pruner | ({"group_dependency": "Group"} if group else {})

    pruners = {
        "stream": ranked(["conv1.weight", "layer1.0.conv2.weight"], True),
        "blocks": ranked(["layer1.0.conv1.weight", "layer2.0.conv1.weight"], False),
    }
    if fine:
        pruners["fine"] = {
            "class": "AutomatedGradualPruner",
            "initial_sparsity": 0.1,
            "final_sparsity": 0.7,
            "weights": ["layer3.0.conv1.weight"],
        }
    window = {"starting_epoch": 0, "ending_epoch": 2, "frequency": 1}
    return {
        "policies": [{"pruner": {"instance_name": n}} | window for n in pruners],
        "pruners": pruners,
    }


def test_a_schedules_filters_are_cut_and_its_masks_go_on() -> None:
    """Eight residual layers: a coupled pair, two free layers, and single weights of a third."""
    torch.manual_seed(0)
    model = CifarResNet(1, 10)
    settings = plain(batch_size=16, lr=0.01)
    trainer = Trainer(model, Images(few(), "train", CPU), settings, 3, 0, Hooks())
    scheduler = dict_config(model, trainer.optimizer, _schedule(fine=True))
    for epoch in range(2):
        trainer.run_epoch(epoch, scheduler)
        scheduler.on_epoch_end(epoch, trainer.optimizer, {"min": 1.0, "max": 0.5})
    report = thin(model, (3, 32, 32), trainer.optimizer, scheduler)
    # mask_batchnorm zeroed gamma and beta: nothing may have changed but rounding.
    assert report.output_change <= 1e-5 * max(1.0, report.output_scale)
    assert {cut.layer: cut.filters for cut in report.cut if cut.filters[0] != cut.filters[1]} == {
        "conv1": (16, 8),
        "layer1.0.conv1": (16, 8),
        "layer1.0.conv2": (16, 8),
        "layer2.0.conv1": (32, 16),
    }
    fine = "layer3.0.conv1.weight"
    mask = scheduler.masks[fine]
    assert mask is not None and mask.shape == dict(model.named_parameters())[fine].shape
    n_masked = int((~mask).sum())
    assert n_masked == math.floor(0.7 * mask.numel())
    trainer.run_epoch(2, scheduler)
    weight = dict(model.named_parameters())[fine]
    assert int((weight == 0).sum()) == n_masked


def test_the_filter_remover_thins_from_within_a_schedule() -> None:
    torch.manual_seed(0)
    model = CifarResNet(1, 10)
    schedule = _schedule(fine=False)
    schedule["extensions"] = {
        "thinner": {
            "class": "FilterRemover",
            "thinning_func_str": "remove_filters",
            "arch": "resnet20_cifar",
            "dataset": "cifar10",
        }
    }
    schedule["policies"].append({"extension": {"instance_name": "thinner"}, "epochs": [1]})
    trainer = Trainer(model, Images(few(), "train", CPU), plain(batch_size=16), 3, 0, Hooks())
    scheduler = dict_config(model, trainer.optimizer, schedule)
    shapes = []
    for epoch in range(3):
        trainer.run_epoch(epoch, scheduler)
        scheduler.on_epoch_end(epoch, trainer.optimizer, {"min": 1.0, "max": 0.5})
        shapes.append(model.conv1.out_channels)
    assert shapes == [16, 8, 8]
    assert dict(model.named_parameters())["layer1.0.conv2.weight"].shape[0] == 8
    held = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters()}


@pytest.mark.parametrize(
    ("arguments", "path", "message"),
    [
        ({"thinning_func_str": "remove_filter"}, "thinning_func_str", "'remove_filters'"),
        ({"dataset": "cifar1O"}, "dataset", "did you mean 'cifar10'"),
        ({"dataset": None}, "dataset", "give dataset or input_shape"),
        ({"layers": ["conv1"]}, "layers", "no such argument"),
    ],
)
def test_a_remover_with_wrong_arguments_is_refused_at_its_path(
    arguments: dict[str, Any], path: str, message: str
) -> None:
    extension = {"class": "FilterRemover", "dataset": "cifar10"} | arguments
    schedule = {
        "extensions": {"thinner": {k: v for k, v in extension.items() if v is not None}},
        "policies": [{"extension": {"instance_name": "thinner"}, "epochs": [1]}],
    }
    problems = check_schedule(schedule, CifarResNet(1, 10))
    assert [problem.path for problem in problems] == [f"extensions.thinner.{path}"]
    assert message in problems[0].message
