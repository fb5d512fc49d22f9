"""Random schedules through the engine and through a second one (second_engine.py): no difference.

Masks are compared after every callback, weights too, losses and rates as they come. The second
engine continues from the first one's weights after each minibatch, so that rounding cannot grow.
"""

from __future__ import annotations

import copy
import io
import random
import runpy
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from stillhouse_compression import TrainingDiverged, dict_config

SecondEngine: Any = runpy.run_path(str(Path(__file__).parent / "second_engine.py"))["SecondEngine"]
EPOCHS, N = 5, 3
CONVOLUTIONS = ["conv1.weight", "conv2.weight", "conv3.weight"]
WEIGHTS = [*CONVOLUTIONS, "fc.weight"]
COUPLED = ["conv2.weight", "conv3.weight"]
BATCHNORMS = {"conv1.weight": "bn1", "conv2.weight": "bn2", "conv3.weight": "bn3"}


class Net(nn.Module):
    """A residual network in the small; (batch, 3, 6, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.bn2 = nn.BatchNorm2d(16)
        self.conv3 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        x = (self.bn3(self.conv3(x)) + x).relu()
        y: Tensor = self.fc(x.mean(dim=(2, 3)))
        return y


class Schedules:
    """Draws schedules; the same seed, the same schedule."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def some(self, names: list[str]) -> list[str]:
        return self.random.sample(names, self.random.randint(1, len(names)))

    def maybe(self, chance: float, key: str, value: Any) -> dict[str, Any]:
        return {key: value} if self.random.random() < chance else {}

    def number(self, low: float, high: float) -> float:
        return round(self.random.uniform(low, high), 3)

    def numbers(self, low: float, high: float, star: float = 0.15) -> dict[str, float]:
        found = {name: self.number(low, high) for name in self.some(WEIGHTS)}
        return found | self.maybe(star, "*", self.number(low, high))

    def window(self, is_range: bool) -> dict[str, Any]:
        draw = self.random
        if not is_range and draw.random() < 0.35:
            return {"epochs": draw.sample(range(EPOCHS), draw.randint(1, 4))}
        while True:
            start = draw.randint(0, 2)
            end = draw.randint(start + 2, EPOCHS + 1)
            step = draw.randint(1, end - start)
            if not is_range or end - start > step:
                return {"starting_epoch": start, "ending_epoch": end, "frequency": step}

    def pruner(self) -> dict[str, Any]:
        draw = self.random
        kind = draw.choice(["level", "sensitivity", "gradual", "ranked", "other"])
        if kind == "level":
            return {"class": "SparsityLevelParameterPruner", "levels": self.numbers(0, 1)}
        if kind == "sensitivity":
            return {"class": "SensitivityPruner", "sensitivities": self.numbers(0, 1.5)}
        if kind == "ranked":
            return self.ranked()
        law = {"initial_sparsity": draw.choice([0, 0.05, 0.2]), "final_sparsity": 0.9}
        if kind == "gradual":
            return {"class": "AutomatedGradualPruner", **law, "weights": self.some(WEIGHTS)}
        groups = ["2D", "3D", "Filters", "Channels"]
        regimes = {n: [self.number(0.02, 0.25), draw.choice(groups)] for n in CONVOLUTIONS}
        regimes |= self.maybe(0.5, "fc.weight", [0.1, draw.choice(["Rows", "Cols"])])
        return draw.choice(
            [
                {
                    "class": "MagnitudeParameterPruner",
                    "thresholds": self.numbers(0, 0.1) | {"*": draw.choice([0.0, 0.02])},
                },
                {
                    "class": "SplicingPruner",
                    "sensitivities": self.numbers(-0.5, 0.5),
                    "low_thresh_mult": 0.8,
                    "hi_thresh_mult": self.number(0.8, 1.3),
                    **self.maybe(0.5, "sensitivity_multiplier", 0.2),
                },
                {
                    "class": "BaiduRNNPruner",
                    "q": self.number(0.05, 0.4),
                    "ramp_epoch_offset": draw.randint(0, 3),
                    "ramp_slope_mult": draw.choice([1, 1.5, 3]),
                    "weights": self.some(WEIGHTS),
                },
                {
                    "class": "StructureParameterPruner",
                    "reg_regims": regimes,
                    "threshold_criteria": draw.choice(["Max", "Mean_Abs"]),
                },
            ]
        )

    def ranked(self) -> dict[str, Any]:
        draw = self.random
        group = draw.choice(["Filters", "3D", "Channels", "Rows", "Blocks"])
        spec: dict[str, Any] = {
            "class": f"L{draw.choice('12')}RankedStructureParameterPruner",
            "group_type": group,
            "weights": {
                "Channels": self.some(WEIGHTS),
                "Rows": ["fc.weight"],
                "Blocks": self.some(COUPLED),
            }.get(group, self.some(CONVOLUTIONS)),
        }
        if group == "Blocks":
            spec["kwargs"] = {
                "block_shape": draw.choice([[1, 8, 1, 1], [2, 4, 1, 1], [2, 1, 1, 1]])
            }
        else:
            spec |= self.maybe(0.2, "group_size", draw.choice([2, 4]))
        if group in ("Filters", "3D") and draw.random() < 0.5:
            spec["weights"] = draw.sample(COUPLED, 2)
            spec["group_dependency"] = draw.choice(["Leader", "Group"])
        if draw.random() < 0.5:
            return spec | {"desired_sparsity": draw.choice([0, 0.29, 0.5, 1.0, self.number(0, 1)])}
        spec["class"] += "_AGP"
        return spec | {"initial_sparsity": draw.choice([0, 0.1]), "final_sparsity": 0.7}

    def arguments(self, kind: str) -> dict[str, Any]:
        args: dict[str, Any] = {
            **self.maybe(0.35, "mini_batch_pruning_frequency", self.random.randint(1, 5)),
            **self.maybe(0.35, "mask_on_forward_only", True),
            **self.maybe(0.3, "use_double_copies", True),
            **self.maybe(0.15, "discard_masks_at_minibatch_end", True),
            **self.maybe(0.35, "keep_mask", True),
            **self.maybe(0.2, "skip_first_minibatch", True),
            **self.maybe(0.2, "fold_batchnorm", True),
        }
        if "mask_on_forward_only" in args:
            args |= self.maybe(0.4, "mask_gradients", True)
        if kind == "SparsityLevelParameterPruner":
            args |= self.maybe(0.3, "levels", self.numbers(0, 1))
        return args

    def regularizer(self) -> dict[str, Any]:
        draw = self.random
        kind = draw.choice(["L1", "GroupLasso", "GroupLasso", "GroupVariance"])
        spec: dict[str, Any] = {"class": f"{kind}Regularizer"}
        if kind == "GroupVariance":
            return spec | {"reg_regims": {n: [1e-5, "Channels"] for n in self.some(CONVOLUTIONS)}}
        spec |= self.maybe(0.6, "threshold_criteria", draw.choice(["Max", "Mean_Abs"]))
        if kind == "L1":
            return spec | {"reg_regims": {n: self.number(0.001, 0.05) for n in self.some(WEIGHTS)}}
        groups = ["2D", "3D", "Filters", "Channels", "4D"]
        of_linear = ["Rows", "Cols"] + ["Rows+Cols"] * ("threshold_criteria" not in spec)
        regimes = {
            n: [self.number(0.01, 0.15), draw.choice(groups)] for n in self.some(CONVOLUTIONS)
        }
        regimes |= self.maybe(0.5, "fc.weight", [0.05, draw.choice(of_linear)])
        return spec | {"reg_regims": regimes}

    def rate(self) -> dict[str, Any]:
        return self.random.choice(
            [
                {"class": "StepLR", "step_size": 2},
                {"class": "MultiStepLR", "milestones": [1, 3], "gamma": 0.3},
                {"class": "ExponentialLR", "gamma": 0.8},
                {"class": "PolynomialLR", "T_max": 4, "power": 2},
                {"class": "MultiStepMultiGammaLR", "milestones": [2, 3], "gammas": [0.5, 0.1]},
                {"class": "CosineAnnealingLR", "T_max": 5},
            ]
        )

    def schedule(self) -> dict[str, Any]:
        policies = []
        pruners = {f"p{i}": self.pruner() for i in range(self.random.randint(1, 3))}
        for name, spec in pruners.items():
            for _ in range(self.random.choice([1, 1, 2])):
                is_range = "initial_sparsity" in spec or "q" in spec
                body = {"instance_name": name, "args": self.arguments(spec["class"])}
                policies.append({"pruner": body, **self.window(is_range)})
        regularizers = {f"r{i}": self.regularizer() for i in range(self.random.randint(0, 2))}
        for name in regularizers:
            body = {"instance_name": name, "args": self.maybe(0.6, "keep_mask", True)}
            policies.append({"regularizer": body, **self.window(False)})
        rates = self.maybe(0.5, "rate", self.rate())
        for name in rates:
            policies.append({"lr_scheduler": {"instance_name": name}, **self.window(False)})
        self.random.shuffle(policies)
        return {
            "pruners": pruners,
            "regularizers": regularizers,
            "lr_schedulers": rates,
            "policies": policies,
        }


class Twins:
    """One network twice, each under its engine."""

    def __init__(self, seed: int) -> None:
        schedule = Schedules(seed).schedule()
        torch.manual_seed(seed)
        self.one = Net()
        self.two = copy.deepcopy(self.one)
        settings = random.Random(seed).choice([(0.05, 0.9, 1e-4), (0.0, 0.0, 0.0)])
        self.optimizers = [
            torch.optim.SGD(net.parameters(), settings[0], settings[1], weight_decay=settings[2])
            for net in (self.one, self.two)
        ]
        self.engine = dict_config(self.one, self.optimizers[0], copy.deepcopy(schedule))
        self.second = SecondEngine(self.two, self.optimizers[1], schedule, BATCHNORMS)

    def compare(self, *where: Any) -> None:
        others = dict(self.two.named_parameters())
        for name, parameter in self.one.named_parameters():
            mask, other = self.engine.masks[name], self.second.maskers[name].mask
            assert (mask is None) == (other is None), (where, name)
            if mask is not None:
                assert np.array_equal(mask.numpy(), other), (where, name)
            close = torch.isclose(parameter, others[name], rtol=0, atol=1e-6, equal_nan=True)
            assert close.all(), (where, name)

    def minibatch(self, epoch: int, i: int, x: Tensor, y: Tensor) -> None:
        engine, second, place = self.engine, self.second, (epoch, i, N)
        engine.on_minibatch_begin(*place)
        second.on_minibatch_begin(*place)
        self.compare(*place, "forward")
        loss = functional.cross_entropy(self.one(x), y)
        answer = engine.before_backward_pass(*place, loss)
        other, wanted = second.loss(epoch, functional.cross_entropy(self.two(x), y))
        found = [(part.name, part.value.item()) for part in answer.loss_components]
        assert [name for name, _ in found] == [name for name, _ in wanted]
        values = [value for _, value in wanted]
        assert [v for _, v in found] == pytest.approx(values, rel=1e-4, nan_ok=True)
        for optimizer, total in zip(self.optimizers, (answer.overall_loss, other), strict=True):
            optimizer.zero_grad()
            torch.autograd.backward(total)
        engine.before_parameter_optimization(*place)
        second.before_parameter_optimization(epoch)
        for optimizer in self.optimizers:
            optimizer.step()
        engine.on_minibatch_end(*place)
        second.on_minibatch_end(*place)
        self.compare(*place, "end")
        self.two.load_state_dict(self.one.state_dict())
        state = copy.deepcopy(self.optimizers[0].state_dict())
        state["param_groups"] = self.optimizers[1].state_dict()["param_groups"]
        self.optimizers[1].load_state_dict(state)

    def run(self) -> None:
        generator = torch.Generator().manual_seed(2)
        for epoch in range(EPOCHS):
            rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]
            assert rates[0] == pytest.approx(rates[1], rel=1e-9, abs=1e-15), epoch
            self.engine.on_epoch_begin(epoch)
            self.second.on_epoch_begin(epoch)
            self.compare(epoch, "begin")
            for i in range(N):
                x = torch.randn(6, 3, 6, 6, generator=generator)
                y = torch.randint(0, 5, (6,), generator=generator)
                self.minibatch(epoch, i, x, y)
            self.engine.on_epoch_end(epoch, metrics={"min": 1.0, "max": 1.0})
            self.second.on_epoch_end(epoch)
            self.compare(epoch, "done")


def _run(seed: int) -> None:
    # A variance of nothing: the engine says so, and there is no mask to compare.
    with suppress(TrainingDiverged):
        Twins(seed).run()


@pytest.mark.parametrize("seed", range(20))
def test_a_random_schedule_runs_alike_in_both_engines(seed: int) -> None:
    _run(seed)


@pytest.mark.slow  # a minute: more of the same
def test_hundreds_of_random_schedules_run_alike_in_both_engines() -> None:
    for seed in range(100, 400):
        _run(seed)


# Checkpoints ------------------------------------------------------------------------------


def _parts(seed: int, resumed_epoch: int | None = None) -> tuple[Any, Any, Any]:
    torch.manual_seed(seed)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    schedule = Schedules(seed).schedule()
    return model, optimizer, dict_config(model, optimizer, schedule, None, resumed_epoch)


def _train(parts: tuple[Any, Any, Any], epoch: int) -> None:
    model, optimizer, scheduler = parts
    generator = torch.Generator().manual_seed(epoch)
    scheduler.on_epoch_begin(epoch, optimizer)
    for i in range(N):
        x = torch.randn(6, 3, 6, 6, generator=generator)
        y = torch.randint(0, 5, (6,), generator=generator)
        scheduler.on_minibatch_begin(epoch, i, N, optimizer)
        loss = functional.cross_entropy(model(x), y)
        loss = scheduler.before_backward_pass(epoch, i, N, loss, optimizer)
        optimizer.zero_grad()
        loss.backward()
        scheduler.before_parameter_optimization(epoch, i, N, optimizer)
        optimizer.step()
        scheduler.on_minibatch_end(epoch, i, N, optimizer)
    scheduler.on_epoch_end(epoch, optimizer, metrics={"min": 1.0, "max": 1.0})


@pytest.mark.parametrize("seed", range(8))
def test_a_random_schedule_resumes_to_the_same_bits(seed: int) -> None:
    whole, at = _parts(seed), 1 + seed % (EPOCHS - 1)
    checkpoint = io.BytesIO()
    with suppress(TrainingDiverged):
        for epoch in range(EPOCHS):
            if epoch == at:
                torch.save([part.state_dict() for part in whole], checkpoint)
            _train(whole, epoch)
        checkpoint.seek(0)
        resumed = _parts(seed, at - 1)
        states = torch.load(checkpoint, weights_only=True)
        for part, state in zip(reversed(resumed), reversed(states), strict=True):
            part.load_state_dict(state)
        for epoch in range(at, EPOCHS):
            _train(resumed, epoch)
        for name, mask in whole[2].masks.items():
            other = resumed[2].masks[name]
            assert (mask is None) == (other is None), name
            assert mask is None or torch.equal(mask, other), name
        for name, value in whole[0].state_dict().items():
            close = torch.isclose(value, resumed[0].state_dict()[name], 0, 0, equal_nan=True)
            assert close.all(), name
