"""The name of a built network: the same for other weights, another for other shapes."""

from __future__ import annotations

import torch
from torch import nn

from stillhouse_compression.built import built_hash
from stillhouse_compression.export import export_onnx


def _network(n_filters: int = 4, stride: int = 1, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, n_filters, 3, stride=stride, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(n_filters, 10),
    )


def _hash(network: nn.Module) -> str:
    return built_hash(export_onnx(network, (3, 8, 8)))


def test_weights_make_no_difference_and_shapes_do() -> None:
    first = _hash(_network())
    assert len(first) == 64
    assert _hash(_network(seed=1)) == first
    assert _hash(_network(n_filters=5)) != first
    assert _hash(_network(stride=2)) != first


def test_many_zeros_are_another_network_and_a_few_are_not() -> None:
    network = _network(n_filters=16)
    conv = network[0]
    assert isinstance(conv, nn.Conv2d)
    first = _hash(network)
    with torch.no_grad():
        conv.weight.view(-1)[:4] = 0.0  # of 432: training leaves a few anywhere
    assert _hash(network) == first
    with torch.no_grad():
        conv.weight.view(-1)[:216] = 0.0
    assert _hash(network) != first
