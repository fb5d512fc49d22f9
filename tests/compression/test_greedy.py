"""Greedy filter pruning: the copy that tests best is kept, until enough is gone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stillhouse_compression import CompressionError, CompressionScheduler, greedy_pruner

SHAPE = (3, 8, 8)


class Plain(nn.Module):
    """Two convolutions and a linear layer; (batch, 3, 8, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.second(self.first(x).relu()).relu().mean((2, 3)))
        return y


def _filters(model: nn.Module, layer: str) -> int:
    return dict(model.named_parameters())[f"{layer}.weight"].shape[0]


def _spares_the_first(model: nn.Module) -> tuple[float, float, float]:
    """A network is the better, the more filters its first layer has; then the smaller."""
    return float(_filters(model, "first")), 0.0, float(_filters(model, "second"))


def test_the_layer_whose_loss_hurts_least_loses_its_weakest_filters_first() -> None:
    torch.manual_seed(0)
    model = Plain()
    norms = np.abs(model.second.weight.detach().numpy()).sum((1, 2, 3))
    strongest = sorted(np.argsort(norms)[4:])
    pruned, steps = greedy_pruner(model, SHAPE, _spares_the_first, 0.65, pruning_step=0.3)
    # Three tenths of 8 are 2, of 6 and of 5 are 1.
    assert [(step.parameter, step.n_filters) for step in steps] == [
        ("second.weight", 6),
        ("second.weight", 5),
        ("second.weight", 4),
    ]
    dense = 64 * (8 * 27 + 8 * 72) + 32
    assert [step.macs for step in steps] == [64 * (8 * 27 + n * 72) + 4 * n for n in (6, 5, 4)]
    assert steps[-1].density == pytest.approx((64 * (216 + 288) + 16) / dense)
    assert steps[-2].density > 0.65 >= steps[-1].density
    kept = model.second.weight.detach()[strongest]
    assert torch.equal(dict(pruned.named_parameters())["second.weight"], kept)
    assert _filters(model, "second") == 8


def test_a_copy_is_fine_tuned_under_its_mask_before_it_is_judged() -> None:
    seen: list[int] = []

    def fine_tune(model: nn.Module, scheduler: CompressionScheduler) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)  # as a step of the optimizer would
        scheduler.on_minibatch_end(0, 0, 1)
        seen.append(sum(mask is not None for mask in scheduler.masks.values()))

    greedy_pruner(Plain(), SHAPE, _spares_the_first, 0.9, 0.3, fine_tune, ["second.*"])
    assert seen == [2]  # the weight and, there being no BatchNorm, the bias


def test_what_cannot_be_reached_and_who_is_unknown_is_said() -> None:
    with pytest.raises(CompressionError, match="no layer can spare another filter"):
        greedy_pruner(Plain(), SHAPE, _spares_the_first, 0.01, 0.3)
    with pytest.raises(CompressionError, match=r"no parameter 'thrid\.weight'"):
        greedy_pruner(Plain(), SHAPE, _spares_the_first, 0.5, parameters=["thrid.weight"])
    with pytest.raises(CompressionError, match="target_density must lie"):
        greedy_pruner(Plain(), SHAPE, _spares_the_first, 1.0)
