"""Torch, ONNX and back: what was pruned stays pruned, and a wrong graph is caught by name."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from stillhouse_compression import survival
from stillhouse_compression.errors import SurvivalError
from stillhouse_compression.export import export_onnx
from stillhouse_compression.models import build, model_info
from stillhouse_compression.probe import Probe, npy_bytes
from stillhouse_compression.seeding import seeded

SHAPE = (3, 8, 8)


class Net(nn.Module):
    """A folded BatchNorm, one that cannot be folded, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.late = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6 * 36, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.late(torch.relu(self.bn(self.conv(x))))
        return self.fc(x.flatten(1))  # type: ignore[no-any-return]


def _pruned() -> Net:
    """Two whole filters and eleven more weights of conv are zero: 2 * 27 + 11 of 162."""
    with seeded(3, 1):
        net = Net()
        for norm in (net.bn, net.late):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -1.0, 1.0)
            nn.init.uniform_(norm.running_mean, -1.0, 1.0)  # type: ignore[arg-type]
            nn.init.uniform_(norm.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    with torch.no_grad():
        net.conv.weight[1] = 0.0
        net.conv.weight[4] = 0.0
        net.conv.weight[0].view(-1)[:11] = 0.0
    return net.eval()


def _probe(model: nn.Module, shape: tuple[int, ...]) -> Probe:
    inputs = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = model(inputs)
    return Probe(npy_bytes(inputs.numpy()), npy_bytes(outputs.numpy()))


@pytest.fixture(scope="module")
def traced() -> tuple[Net, bytes, Probe]:
    net = _pruned()
    return net, export_onnx(net, SHAPE), _probe(net, SHAPE)


def test_every_stage_counts_the_same_zeros(traced: tuple[Net, bytes, Probe]) -> None:
    stages = survival.trace(*traced)
    assert [stage["name"] for stage in stages] == ["torch", "onnx", "onnx in torch"]
    for stage in stages:
        rows = {row["layer"]: row for row in stage["layers"]}
        assert set(rows) == {"conv", "fc"}
        assert rows["conv"]["shape"] == [6, 3, 3, 3]
        assert rows["conv"]["n_nonzero"] == 6 * 27 - (2 * 27 + 11)
        assert rows["conv"]["sparsity"] == pytest.approx(65 / 162)
        assert rows["conv"]["filter_sparsity"] == pytest.approx(2 / 6)
        assert rows["fc"]["shape"] == [4, 216]
        assert rows["fc"]["n_nonzero"] == 4 * 216


def test_the_graph_in_torch_answers_as_the_network_did(traced: tuple[Net, bytes, Probe]) -> None:
    agreed = survival.trace(*traced)[-1]["agreement"]
    assert agreed["max_rel"] < 1e-5
    assert agreed["top1_agreement"] == 1.0


def _changed(content: bytes, layer: str, change: Any) -> bytes:
    model = onnx.load(io.BytesIO(content))
    for tensor in model.graph.initializer:
        if tensor.name == f"{layer}.weight":
            array = numpy_helper.to_array(tensor).copy()
            tensor.CopyFrom(numpy_helper.from_array(change(array), tensor.name))
    return bytes(model.SerializeToString())


def test_a_zero_that_came_back_names_stage_and_layer(traced: tuple[Net, bytes, Probe]) -> None:
    net, content, probe = traced

    def unmask(weight: np.ndarray) -> np.ndarray:
        weight[4, 0, 0, 0] = 1e-7  # too small to show in the answers
        return weight

    with pytest.raises(SurvivalError, match=r"stage onnx: conv had 97 weights .* now it has 98"):
        survival.trace(net, _changed(content, "conv", unmask), probe)


def test_weights_of_another_network_are_told_by_their_answers(
    traced: tuple[Net, bytes, Probe],
) -> None:
    net, content, probe = traced
    with pytest.raises(SurvivalError, match="stage onnx in torch: outputs differ"):
        survival.trace(net, _changed(content, "fc", lambda weight: weight * 1.1), probe)


def test_a_weight_of_another_shape_is_refused(traced: tuple[Net, bytes, Probe]) -> None:
    net, content, probe = traced
    with pytest.raises(SurvivalError, match=r"conv has a weight of shape \(6, 3, 3, 3\)"):
        survival.trace(net, _changed(content, "conv", lambda weight: weight[:5]), probe)


@pytest.mark.parametrize("name", ["resnet20_cifar", "mobilenet_v2_cifar"])
def test_the_registrys_networks_survive(name: str) -> None:
    with seeded(0, 1):
        model = build(name).eval()
    shape = model_info(name).input_shape
    stages = survival.trace(model, export_onnx(model, shape), _probe(model, shape))
    assert len(stages[0]["layers"]) == len(stages[1]["layers"]) == len(stages[2]["layers"])
