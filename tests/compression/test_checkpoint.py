"""A training that is taken up again ends as if nothing had happened, bit for bit."""

import io
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from stillhouse_compression import checkpoint, datasets, models
from stillhouse_compression.baseline import TrainedBaseline, train_baseline
from stillhouse_compression.compress import CompressionTask, compress
from stillhouse_compression.errors import CompressionError
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.train import Images, Trainer
from stillhouse_compression.training import Recipe

WINDOW = {"starting_epoch": 0, "ending_epoch": 2, "frequency": 1}
SCHEDULE: dict[str, Any] = {
    "version": 1,
    "pruners": {
        "filters": {
            "class": "L1RankedStructureParameterPruner_AGP",
            "group_type": "Filters",
            "initial_sparsity": 0.1,
            "final_sparsity": 0.5,
            "weights": ["conv2.weight"],
        },
        "drops": {  # draws: only a restored generator draws the same again
            "class": "BernoulliFilterPruner",
            "desired_sparsity": 0.3,
            "group_type": "Filters",
            "weights": ["conv1.weight"],
        },
        "single": {
            "class": "AutomatedGradualPruner",
            "initial_sparsity": 0.1,
            "final_sparsity": 0.8,
            "weights": ["fc2.weight"],
        },
    },
    "lr_schedulers": {"lr": {"class": "ExponentialLR", "gamma": 0.7}},
    "policies": [
        {"pruner": {"instance_name": "filters"}} | WINDOW,
        {"pruner": {"instance_name": "drops"}} | WINDOW,
        {"pruner": {"instance_name": "single"}} | WINDOW,
        {"lr_scheduler": {"instance_name": "lr"}} | WINDOW | {"ending_epoch": 4},
    ],
}
TRAINING = {"epochs": 2, "recovery_epochs": 2, "lr": 0.01, "effective_train_size": 0.2}
RECIPE = {"epochs": 3, "lr": 0.05, "effective_train_size": 0.3}


class Dead(BaseException):
    """The worker is gone: nothing of the training's may catch it."""


class Shelf:
    """Keeps the last checkpoint; the worker dies as it has saved the n-th."""

    def __init__(self, n: int | None = None) -> None:
        self.content: bytes | None = None
        self.told: list[Mapping[str, Any]] = []
        self._n = n

    def _save(self, content: bytes) -> None:
        self.content = content
        if self._n is not None:
            self._n -= 1
            if self._n == 0:
                raise Dead

    def hooks(self) -> Hooks:
        return Hooks(
            self.told.append, save_checkpoint=self._save, load_checkpoint=lambda: self.content
        )

    def revived(self) -> Hooks:
        """Of the second attempt, which does not die."""
        self._n = None
        return self.hooks()


def _baseline(hooks: Hooks) -> TrainedBaseline:
    recipe = Recipe.from_mapping(RECIPE)
    return train_baseline("simplenet_cifar", "digits", recipe, 3, hooks, n_threads=1)


@pytest.fixture(scope="module")
def baseline() -> TrainedBaseline:
    return _baseline(Hooks())


@pytest.fixture(scope="module")
def task(baseline: TrainedBaseline) -> CompressionTask:
    return CompressionTask(
        "simplenet_cifar", "digits", baseline.weights, SCHEDULE, TRAINING, seed=7, n_threads=1
    )


@pytest.mark.parametrize("n_epochs", [1, 3])
def test_a_baseline_taken_up_after_an_epoch_is_the_undisturbed_one(
    baseline: TrainedBaseline, n_epochs: int
) -> None:
    shelf = Shelf(n_epochs)
    with pytest.raises(Dead):
        _baseline(shelf.hooks())
    shelf.told.clear()
    assert _baseline(shelf.revived()) == baseline
    assert shelf.told[0] == {"stage": "resuming", "epoch": n_epochs}
    trained = [told["epoch"] for told in shelf.told if told["stage"] == "training"]
    assert trained == list(range(n_epochs + 1, 4))  # not an epoch twice


def test_a_compression_taken_up_after_any_epoch_is_the_undisturbed_one(
    task: CompressionTask,
) -> None:
    whole = compress(task)
    assert whole.thinning[0]["n_filters_cut"] > 0  # so that shapes differ between the epochs
    for n_epochs in (1, 2, 3, 4):  # within the schedule, before and after thinning, at the end
        shelf = Shelf(n_epochs)
        with pytest.raises(Dead):
            compress(task, shelf.hooks())
        shelf.told.clear()
        assert compress(task, shelf.revived()) == whole, n_epochs
        assert shelf.told[0] == {"stage": "resuming", "epoch": n_epochs}


def _trainer() -> Trainer:
    data = datasets.load("digits")
    model = models.build("simplenet_cifar", 10)
    images = Images(data, "train", torch.device("cpu"))
    return Trainer(model, images, Recipe(), 1, 0, Hooks())


@pytest.mark.parametrize(
    "content", [b"", b"nothing that torch wrote", b"\x80\x02cos\nsystem\n(S'true'\ntR."]
)
def test_a_damaged_checkpoint_is_left_alone(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoint.load(Hooks(load_checkpoint=lambda: content), _trainer()) is None
    assert "cannot be read" in caplog.text


def test_a_checkpoint_of_another_number_of_threads_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf, trainer = Shelf(), _trainer()
    checkpoint.save(shelf.hooks(), 1, trainer, {})
    assert shelf.content is not None
    state = torch.load(io.BytesIO(shelf.content), weights_only=True)
    with caplog.at_level(logging.WARNING):
        changed = io.BytesIO()
        torch.save(state | {"n_threads": 77}, changed)
        assert checkpoint.load(Hooks(load_checkpoint=changed.getvalue), trainer) is None
    assert "n_threads 77" in caplog.text


def test_a_checkpoint_of_another_network_is_refused(task: CompressionTask) -> None:
    shelf = Shelf(1)
    with pytest.raises(Dead):
        compress(task, shelf.hooks())
    other = replace(task, schedule={"version": 1, "policies": []}, training={"epochs": 1})
    with pytest.raises(CompressionError, match="fits another"):
        compress(other, shelf.revived())
