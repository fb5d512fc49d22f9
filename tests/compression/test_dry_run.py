"""A schedule without its training: the same tensors, no learning."""

from __future__ import annotations

import io
from typing import Any

import onnx
import pytest

from stillhouse_compression import models
from stillhouse_compression.compress import CompressionTask
from stillhouse_compression.dry_run import dry_run
from stillhouse_compression.errors import CompressionError
from stillhouse_compression.seeding import seeded
from stillhouse_compression.weights import weights_to_bytes

LAYER = "layer3.2.conv1"  # 64 filters, feeds layer3.2.conv2 alone


@pytest.fixture(scope="module")
def weights() -> bytes:
    with seeded(0, 1):
        return weights_to_bytes(models.build("resnet20_cifar", 10))


def _task(weights: bytes, pruner: dict[str, Any], **more: Any) -> CompressionTask:
    policy = {
        "pruner": {"instance_name": "one"},
        "starting_epoch": 0,
        "ending_epoch": 2,
        "frequency": 1,
    }
    schedule = {
        "version": 1,
        "pruners": {"one": {"weights": [f"{LAYER}.weight"], **pruner}},
        "policies": [policy],
    }
    # A learning rate that would tear the network apart, were it used on two images.
    training = {"epochs": 2, "recovery_epochs": 0, "lr": 1e6}
    return CompressionTask("resnet20_cifar", "digits", weights, schedule | more, training)


def _shapes(content: bytes) -> dict[str, tuple[int, ...]]:
    graph = onnx.load(io.BytesIO(content)).graph
    return {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}


def test_half_of_the_filters_are_gone_without_training(weights: bytes) -> None:
    pruner = {
        "class": "L1RankedStructureParameterPruner_AGP",
        "group_type": "Filters",
        "initial_sparsity": 0.05,
        "final_sparsity": 0.5,
    }
    made = dry_run(_task(weights, pruner))
    shapes = _shapes(made.onnx)
    assert shapes[f"{LAYER}.weight"] == (32, 64, 3, 3)
    assert shapes["layer3.2.conv2.weight"] == (64, 32, 3, 3)
    # Half of both convolutions is gone: 64 * 64 * 9 multiply-accumulates at each of 8x8 places.
    assert made.dense_macs - made.macs == 64 * 64 * 9 * 8 * 8
    assert made.is_decided


def test_single_weights_make_no_tensor_smaller(weights: bytes) -> None:
    pruner = {
        "class": "AutomatedGradualPruner",
        "initial_sparsity": 0.05,
        "final_sparsity": 0.9,
    }
    made = dry_run(_task(weights, pruner))
    assert made.macs == made.dense_macs
    assert made.is_decided


def test_what_a_threshold_would_cut_after_training_is_not_decided(weights: bytes) -> None:
    pruner = {"class": "MagnitudeParameterPruner", "thresholds": {"*": 1e-9}}
    task = _task(weights, pruner)
    del task.schedule["pruners"]["one"]["weights"]
    assert not dry_run(task).is_decided


def test_a_schedule_that_cannot_run_says_so_as_in_a_trial(weights: bytes) -> None:
    with pytest.raises(CompressionError, match="NoSuchPruner"):
        dry_run(_task(weights, {"class": "NoSuchPruner"}))
