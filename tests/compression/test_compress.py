"""Baseline and compression as a compute worker runs them: plain data in, bytes and figures out."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino  # type: ignore[import-untyped]  # ships no types
import pytest
import torch

from stillhouse_compression import load_yaml, models
from stillhouse_compression.baseline import TrainedBaseline, train_baseline
from stillhouse_compression.compress import CompressedModel, CompressionTask, compress
from stillhouse_compression.errors import (
    Cancelled,
    CompressionError,
    EngineError,
    ScheduleError,
    SettingsError,
    TrainingDiverged,
)
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.original import missing_distiller
from stillhouse_compression.training import Recipe
from stillhouse_compression.weights import load_weights

WINDOW = {"starting_epoch": 0, "ending_epoch": 2, "frequency": 1}
SCHEDULE: dict[str, Any] = {
    "version": 1,
    "pruners": {
        "filters": {
            "class": "L1RankedStructureParameterPruner_AGP",
            "group_type": "Filters",
            "mask_batchnorm": True,
            "initial_sparsity": 0.1,
            "final_sparsity": 0.5,
            "weights": ["conv2.weight"],
        },
        "single": {
            "class": "AutomatedGradualPruner",
            "initial_sparsity": 0.1,
            "final_sparsity": 0.8,
            "weights": ["fc2.weight"],
        },
    },
    "policies": [
        {"pruner": {"instance_name": "filters"}} | WINDOW,
        {"pruner": {"instance_name": "single"}} | WINDOW,
    ],
}
TRAINING = {"epochs": 2, "recovery_epochs": 1, "lr": 0.01}


@pytest.fixture(scope="module")
def baseline() -> TrainedBaseline:
    recipe = Recipe.from_mapping({"epochs": 4, "lr": 0.05})
    return train_baseline("simplenet_cifar", "digits", recipe, seed=3, n_threads=1)


@pytest.fixture(scope="module")
def task(baseline: TrainedBaseline) -> CompressionTask:
    return CompressionTask(
        "simplenet_cifar", "digits", baseline.weights, SCHEDULE, TRAINING, seed=7, n_threads=1
    )


@pytest.fixture(scope="module")
def compressed(task: CompressionTask) -> CompressedModel:
    return compress(task)


def test_a_baseline_learns_the_digits(baseline: TrainedBaseline) -> None:
    assert baseline.metrics["validation_top1"] > 0.7  # a tenth is chance
    assert baseline.metrics["params"] == 62006
    assert baseline.metrics["macs"] == 651720
    assert baseline.metrics["onnx_bytes"] == len(baseline.onnx)
    assert [row["epoch"] for row in baseline.history] == [0, 1, 2, 3]
    best = max(row["validation_top1"] for row in baseline.history)
    assert baseline.metrics["validation_top1"] == best
    assert [row["layer"] for row in baseline.layers] == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    json.dumps([baseline.metrics, baseline.layers, baseline.history, baseline.card])


@pytest.mark.parametrize("which", ["baseline", "compressed"])
def test_the_runtime_reproduces_the_probe(which: str, request: pytest.FixtureRequest) -> None:
    result = request.getfixturevalue(which)
    inputs = np.load(io.BytesIO(result.probe_inputs), allow_pickle=False)
    outputs = np.load(io.BytesIO(result.probe_outputs), allow_pickle=False)
    assert inputs.dtype == outputs.dtype == np.float32
    assert inputs.shape == (32, 3, 32, 32) and outputs.shape == (32, 10)
    core = openvino.Core()
    model = core.compile_model(
        core.read_model(result.onnx), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for x, y in zip(inputs, outputs, strict=True):
        assert np.abs(model([x[None]])[0] - y).max() < 1e-4


def test_half_of_the_filters_are_gone_and_single_weights_are_zero(
    compressed: CompressedModel,
) -> None:
    layers = {row["layer"]: row for row in compressed.layers}
    assert layers["conv2"]["dense_shape"] == [16, 6, 5, 5]
    assert layers["conv2"]["shape"] == [8, 6, 5, 5]
    assert layers["fc1"]["shape"] == [120, 8 * 25]
    assert layers["conv2"]["macs"] * 2 == layers["conv2"]["dense_macs"] == 240000
    assert layers["fc2"]["sparsity"] == pytest.approx(0.8, abs=1e-3)
    assert compressed.metrics["macs"] == 651720 - 120000 - 120 * 200
    assert compressed.metrics["params"] == 62006 - 8 * 151 - 120 * 200
    assert compressed.metrics["model_bytes"] == len(compressed.onnx)
    assert compressed.thinning[0]["n_filters_cut"] == 8
    json.dumps([compressed.metrics, compressed.layers, compressed.history, compressed.thinning])


def test_the_onnx_graph_holds_the_thinned_shapes_and_the_zeros(compressed: CompressedModel) -> None:
    graph = onnx.load_from_string(compressed.onnx).graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert weights["conv2.weight"].shape == (8, 6, 5, 5)
    assert (weights["fc2.weight"] == 0).mean() == pytest.approx(0.8, abs=1e-3)


def test_the_network_still_knows_the_digits(
    baseline: TrainedBaseline, compressed: CompressedModel
) -> None:
    assert compressed.metrics["validation_top1"] > baseline.metrics["validation_top1"] - 0.1


def test_the_weights_load_into_the_dense_network(compressed: CompressedModel) -> None:
    model = models.build("simplenet_cifar")
    load_weights(model, compressed.weights)
    inputs = np.load(io.BytesIO(compressed.probe_inputs))
    with torch.no_grad():
        outputs = model.eval()(torch.from_numpy(inputs)).numpy()
    assert np.abs(outputs - np.load(io.BytesIO(compressed.probe_outputs))).max() < 1e-5


def test_history_has_the_schedules_epochs_and_the_recovery(compressed: CompressedModel) -> None:
    assert [(row["stage"], row["epoch"]) for row in compressed.history] == [
        ("schedule", 0),
        ("schedule", 1),
        ("recovery", 2),
    ]


def test_the_same_task_gives_the_same_bytes(
    task: CompressionTask, compressed: CompressedModel
) -> None:
    torch.rand(3)  # whatever was drawn before must not matter
    again = compress(task)
    assert again.onnx == compressed.onnx
    assert again.weights == compressed.weights
    assert again == compressed
    assert compress(replace(task, seed=8)).weights != compressed.weights


def test_the_schedule_that_is_handed_out_runs_again_to_the_same_bytes(
    task: CompressionTask, compressed: CompressedModel
) -> None:
    again = compress(replace(task, schedule=load_yaml(compressed.schedule_yaml)))
    assert again.weights == compressed.weights


def test_progress_tells_stage_and_epoch(task: CompressionTask) -> None:
    told: list[Mapping[str, float | int | str]] = []
    compress(replace(task, training={"epochs": 2, "recovery_epochs": 0}), Hooks(told.append))
    assert [(row["stage"], row.get("epoch")) for row in told] == [
        ("training", 1),
        ("training", 2),
        ("thinning", None),
        ("recalibration", None),
        ("export", None),
    ]


def test_a_schedule_with_lr_schedulers_rules_the_learning_rate(task: CompressionTask) -> None:
    schedule = SCHEDULE | {
        "lr_schedulers": {"halving": {"class": "StepLR", "step_size": 1, "gamma": 0.5}},
        "policies": [
            *SCHEDULE["policies"],
            {"lr_scheduler": {"instance_name": "halving"}} | WINDOW | {"ending_epoch": 3},
        ],
    }
    history = compress(replace(task, schedule=schedule)).history
    assert [row["lr"] for row in history] == pytest.approx([0.01, 0.005, 0.0025])


def test_cancelling_ends_a_compression(task: CompressionTask) -> None:
    asked: list[int] = []

    def is_cancelled() -> bool:
        asked.append(1)
        return len(asked) > 5

    with pytest.raises(Cancelled):
        compress(task, Hooks(is_cancelled=is_cancelled))


def test_every_fault_is_told_before_anything_is_trained(task: CompressionTask) -> None:
    steps: list[int] = []

    def is_cancelled() -> bool:
        steps.append(1)
        return False

    hooks = Hooks(is_cancelled=is_cancelled)
    broken = {"pruners": {"a": {"class": "NoSuchPruner"}}, "policies": []}
    with pytest.raises(ScheduleError, match="NoSuchPruner"):
        compress(replace(task, schedule=broken), hooks)
    with pytest.raises(SettingsError, match=r"training\.lr"):
        compress(replace(task, training={"lr": -1}), hooks)
    with pytest.raises(SettingsError, match=r"policies\[0\]\.ending_epoch"):
        compress(replace(task, training={"epochs": 1, "recovery_epochs": 1}), hooks)
    with pytest.raises(CompressionError, match="no network"):
        compress(replace(task, model_name="resnet"), hooks)
    with pytest.raises(CompressionError, match="belong to another network"):
        compress(replace(task, model_name="plain20_cifar"), hooks)
    with pytest.raises(CompressionError, match="no safetensors"):
        compress(replace(task, weights=b"nothing"), hooks)
    with pytest.raises(CompressionError, match="10 classes, the network only 4 outputs"):
        compress(replace(task, n_classes=4), hooks)
    if missing_distiller() is not None:
        with pytest.raises(EngineError, match="not installed here") as caught:
            compress(replace(task, engine="distiller"), hooks)
        assert caught.value.failure_class == "engine"
    assert steps == []


def test_images_that_a_network_cannot_take_are_refused(tmp_path: Path) -> None:
    """Grey images of 20x20 for a network of colour images, which needs 32x32."""
    images = np.zeros((40, 1, 20, 20), dtype=np.uint8)
    np.savez(tmp_path / "grey.npz", images=images, labels=np.arange(40) % 3)
    with pytest.raises(CompressionError, match="does not take images of 1x20x20"):
        train_baseline("simplenet_cifar", f"npz:{tmp_path / 'grey.npz'}", Recipe(), seed=0)


def test_a_training_that_diverges_is_a_failure_of_its_own_class(task: CompressionTask) -> None:
    with pytest.raises(TrainingDiverged) as caught:
        compress(replace(task, training=TRAINING | {"lr": 1e25}))
    assert caught.value.failure_class == "diverged"


def test_global_generators_and_threads_are_left_as_they_were(task: CompressionTask) -> None:
    n_threads = torch.get_num_threads()
    torch.manual_seed(11)
    expected = torch.rand(4)
    torch.manual_seed(11)
    compress(replace(task, training={"epochs": 1, "recovery_epochs": 0}, n_threads=1))
    assert torch.equal(torch.rand(4), expected)
    assert torch.get_num_threads() == n_threads


@pytest.mark.slow  # trains ResNet-20 for 11 epochs: about half a minute on one core
def test_resnet20_keeps_its_accuracy_at_two_fifths_of_the_macs() -> None:
    """The bundled schedule on the network of the demo; the figures are those of the first run."""
    text = (Path(__file__).parents[2] / "examples" / "digits" / "schedule.yaml").read_text()
    recipe = Recipe.from_mapping({"epochs": 6, "lr": 0.1, "batch_size": 32})
    baseline = train_baseline("resnet20_cifar", "digits", recipe, seed=0, n_threads=1)
    result = compress(
        CompressionTask(
            "resnet20_cifar",
            "digits",
            baseline.weights,
            load_yaml(text),
            {"epochs": 3, "recovery_epochs": 2, "lr": 0.02, "batch_size": 32},
            seed=1,
            n_threads=1,
        )
    )
    assert baseline.metrics["test_top1"] > 0.97
    assert result.metrics["macs"] < 0.45 * result.metrics["dense_macs"]
    drop = baseline.metrics["validation_top1"] - result.metrics["validation_top1"]
    assert drop <= 0.02
