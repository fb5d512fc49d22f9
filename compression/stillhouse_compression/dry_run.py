"""What a schedule makes of a network without training it: the tensors a device would get.

The schedule runs through all its epochs, each of one minibatch of two images at a learning rate
that changes nothing; then the network is thinned and exported as a trial's would be. What ranks by
weights cuts what it would cut; what waits for training to make something small cuts nothing.

Depends on: numpy, torch. A plain function of plain data, for a compute worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

import stillhouse_compression.datasets as datasets
import stillhouse_compression.models as models
from stillhouse_compression.compress import CompressionTask
from stillhouse_compression.datasets import Augmentation, Dataset, DatasetInfo
from stillhouse_compression.export import export_onnx
from stillhouse_compression.fitting import check_fit
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.layers import check_input, count_params, total_macs
from stillhouse_compression.probe import make_probe
from stillhouse_compression.schedule.config import dict_config
from stillhouse_compression.seeding import seeded
from stillhouse_compression.thinning.thin import thin
from stillhouse_compression.train import Images, Trainer
from stillhouse_compression.training import TrainingSettings
from stillhouse_compression.weights import load_weights

_N_IMAGES = 2
_STILL = 1e-12  # learning rate; 0 is no learning rate to torch's schedulers


@dataclass(frozen=True)
class Untrained:
    """A compressed network whose weights are not worth anything.

    Attributes:
        onnx: ONNX bytes, as a trial would export them.
        dense_macs: Multiply-accumulates of one image before.
        macs: Multiply-accumulates now.
        probe_outputs: ``.npy`` float32 (n, classes), torch's logits for the probe inputs.
        params: Weights and biases now.
        is_decided: Whether training could not make it smaller still: nothing in the schedule
            waits for weights to become small.
    """

    onnx: bytes
    dense_macs: int
    macs: int
    probe_outputs: bytes
    params: int
    is_decided: bool


def dry_run(task: CompressionTask, hooks: Hooks | None = None) -> Untrained:
    """Run a trial's schedule without its training.

    Args:
        task: As `compress` takes it.
        hooks: Cancellation, host lock.

    Raises:
        CompressionError: Whatever `compress` would raise for this schedule and network.
        Cancelled: Somebody asked for the end.
    """
    hooks = hooks or Hooks()
    info = datasets.dataset_info(task.dataset_name)
    with hooks.on_host():
        model = models.build(task.model_name, task.n_classes or info.n_classes)
        check_input(model, info.shape, info.n_classes)
        load_weights(model, task.weights)
        dense_macs = total_macs(model, info.shape)
        data = datasets.load(task.dataset_name)
    prune_untrained(model, task.schedule, task.training, data, task.seed, hooks)
    with hooks.on_host():
        return Untrained(
            onnx=export_onnx(model, info.shape),
            dense_macs=dense_macs,
            macs=total_macs(model, info.shape),
            probe_outputs=make_probe(model, data).outputs,
            params=count_params(model),
            is_decided=not _waits_for_training(task.schedule),
        )


def prune_untrained(
    model: nn.Module,
    schedule: Mapping[str, Any],
    training: Mapping[str, Any],
    data: Dataset,
    seed: int = 0,
    hooks: Hooks | None = None,
) -> None:
    """Run a schedule's epochs without learning, then thin; the network is changed in place.

    Args:
        model: On the CPU.
        schedule: Plain, as Distiller's YAML has it.
        training: As a study's `training:` section, plain.
        data: Its first training images are shown to the network.
        seed: Of everything that draws.
        hooks: Cancellation, host lock.

    Raises:
        CompressionError: Whatever `compress` would raise for this schedule and network.
        Cancelled: Somebody asked for the end.
    """
    hooks = hooks or Hooks()
    settings = TrainingSettings.from_mapping(training)
    check_fit(schedule, settings)
    still = replace(
        settings,
        lr=_STILL,
        weight_decay=0.0,
        warmup_epochs=0.0,
        batch_size=_N_IMAGES,
        effective_train_size=1.0,
        augment=False,
    )
    sets_lr = not any("lr_scheduler" in policy for policy in schedule.get("policies", ()))
    with seeded(seed, n_threads=1):  # two images are too few to share among threads
        with hooks.on_host():
            images = Images(_few(data), "train", torch.device("cpu"))
            trainer = Trainer(model, images, still, still.epochs, seed, hooks)
            scheduler = dict_config(model, trainer.optimizer, schedule)
        for epoch in range(still.epochs):
            result = trainer.run_epoch(epoch, scheduler, sets_lr)
            scores = {"min": result.loss, "max": 0.0}
            scheduler.on_epoch_end(epoch, optimizer=trainer.optimizer, metrics=scores)
        with hooks.on_host():
            scheduler.mask_all_weights()
            thin(model, data.info.shape, trainer.optimizer, scheduler)


def random_data(shape: tuple[int, int, int], n_classes: int, n: int = 32) -> Dataset:
    """Noise in the place of a data set, for who only asks what becomes of a network.

    Args:
        shape: (channels, height, width).
        n_classes: Labels are 0..n_classes - 1.
        n: Images of each split.
    """
    rng = np.random.default_rng(0)
    splits = ("train", "validation", "test")
    info = DatasetInfo(
        name="noise",
        description="random pixels",
        n_classes=n_classes,
        shape=shape,
        splits=dict.fromkeys(splits, n),
        augmentation=Augmentation(),
        read=dict,
    )
    return Dataset(
        info=info,
        images={name: rng.integers(0, 256, (n, *shape), dtype=np.uint8) for name in splits},
        labels={name: rng.integers(0, n_classes, n) for name in splits},
        mean=(0.5,) * shape[0],
        std=(0.29,) * shape[0],  # of pixels that are all equally likely
        split_hash="",
    )


def _few(data: Dataset) -> Dataset:
    """The data set with no more training images than one minibatch has."""
    return replace(
        data,
        images={**data.images, "train": data.images["train"][:_N_IMAGES]},
        labels={**data.labels, "train": data.labels["train"][:_N_IMAGES]},
    )


def _waits_for_training(schedule: Mapping[str, Any]) -> bool:
    """Whether something drives weights towards zero, or cuts what has come near it."""
    if schedule.get("regularizers"):
        return True
    pruners: Mapping[str, Mapping[str, Any]] = schedule.get("pruners") or {}
    by_threshold = {
        "MagnitudeParameterPruner",
        "SensitivityPruner",
        "SplicingPruner",
        "BaiduRNNPruner",
        "StructureParameterPruner",
    }
    return any(pruner.get("class") in by_threshold for pruner in pruners.values())
