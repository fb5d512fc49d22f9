"""The whole compression of one trial: baseline's weights and a schedule in, an ONNX graph out.

Life: load weights, train under the schedule, thin what is zero, recover, estimate BatchNorm
afresh, judge, export.

Depends on: torch. A plain function of plain data, for a compute worker.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

import stillhouse_compression.datasets as datasets
import stillhouse_compression.models as models
from stillhouse_compression import checkpoint
from stillhouse_compression.batchnorm import recalibrate_batchnorm
from stillhouse_compression.early_stop import EarlyStop, TrainingStopped
from stillhouse_compression.errors import TrainingDiverged
from stillhouse_compression.evaluate import Evaluation, evaluate
from stillhouse_compression.export import export_onnx
from stillhouse_compression.fitting import check_fit
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.layers import (
    check_input,
    count_params,
    layer_macs,
    layer_table,
    weight_shapes,
)
from stillhouse_compression.layout import to_cpu
from stillhouse_compression.original import DistillerScheduler, Engine
from stillhouse_compression.probe import make_probe
from stillhouse_compression.schedule.config import dict_config
from stillhouse_compression.schedule.scheduler import CompressionScheduler
from stillhouse_compression.seeding import seeded
from stillhouse_compression.survival import trace
from stillhouse_compression.template.safe_yaml import dump
from stillhouse_compression.thinning.thin import thin
from stillhouse_compression.train import Images, Trainer
from stillhouse_compression.training import TrainingSettings
from stillhouse_compression.weights import load_weights, weights_to_bytes

_RECALIBRATION_BATCH = 250


@dataclass(frozen=True)
class CompressionTask:
    """What one trial's compression needs; plain data and bytes.

    Attributes:
        model_name: A network of the registry.
        dataset_name: A data set of the registry.
        weights: The baseline's weights, safetensors bytes.
        schedule: A plain schedule (no tags), as Distiller's YAML has it.
        training: The study's ``training:`` section, plain; see `TrainingSettings`.
        seed: Of everything that draws.
        n_classes: Outputs of the network; None takes the data set's classes.
        n_threads: Threads of torch's CPU kernels; None leaves them as they are.
        device: torch's name of it, ``cpu`` or ``cuda``.
        engine: Whose scheduler runs the schedule: ``stillhouse``, or ``distiller`` for Intel's
            own where it is installed.
        early_stop: When the training need not go to its end; None: it always does.
    """

    model_name: str
    dataset_name: str
    weights: bytes
    schedule: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    n_classes: int | None = None
    n_threads: int | None = None
    device: str = "cpu"
    engine: Engine = "stillhouse"
    early_stop: EarlyStop | None = None


@dataclass(frozen=True)
class CompressedModel:
    """What a compression made.

    Attributes:
        onnx: ONNX bytes, opset 13, named by torch's modules.
        weights: safetensors bytes; `load_weights` puts them into the dense network.
        probe_inputs: ``.npy`` float32 (n, C, H, W), normalised validation images.
        probe_outputs: ``.npy`` float32 (n, classes), torch's logits for them.
        schedule_yaml: The schedule that ran, to be run by hand.
        metrics: ``validation_top1``, ``validation_top5``, ``validation_loss``, ``params``,
            ``macs``, ``dense_params``, ``dense_macs``, ``model_bytes``, ``sparsity`` (share of
            zeros among the weights that are left).
        layers: `LayerRow.to_json` of each convolution and linear layer.
        history: For each epoch ``stage`` (``schedule`` or ``recovery``), ``epoch, loss, lr,
            validation_top1, validation_loss``.
        survival: What is left of it in torch, ONNX and back in torch; see `survival.trace`.
        thinning: `ThinningReport.to_json` of each thinning that cut something, and of the last.
        warnings: What the schedule's reading had to say.
    """

    onnx: bytes
    weights: bytes
    probe_inputs: bytes
    probe_outputs: bytes
    schedule_yaml: str
    metrics: dict[str, float]
    layers: list[dict[str, Any]]
    survival: list[dict[str, Any]]
    history: list[dict[str, float | int | str]]
    thinning: list[dict[str, Any]]
    warnings: list[str]


def compress(task: CompressionTask, hooks: Hooks | None = None) -> CompressedModel:
    """Run one trial's compression.

    The same task gives the same bytes for the same thread count on the same kind of machine, and
    so does one that was taken up again from its hooks' checkpoint.

    Args:
        task: What to do.
        hooks: Progress, cancellation, host lock.

    Raises:
        ScheduleError: The schedule cannot run on this network; every problem is named.
        EngineError: ``distiller`` was asked for and is not here, or failed.
        SettingsError: The training settings cannot be used, or do not fit the schedule.
        CompressionError: No such network or data set, or weights of another network.
        TrainingDiverged: Loss or weights became NaN or infinite.
        TrainingStopped: The accuracy that `early_stop` wants is out of reach.
        ThinningError: The network cannot be thinned.
        ExportError: The network does not become an ONNX graph.
        SurvivalError: The graph is not the network: zeros, a layer or its answers were lost.
        Cancelled: Somebody asked for the end.
    """
    hooks = hooks or Hooks()
    with seeded(task.seed, task.n_threads):
        with hooks.on_host():
            run = _Run(task, hooks)
        run.train()
        return run.finish()


class _Run:
    """One compression from loading to export."""

    def __init__(self, task: CompressionTask, hooks: Hooks) -> None:
        self.task, self.hooks = task, hooks
        self.settings = TrainingSettings.from_mapping(task.training)
        check_fit(task.schedule, self.settings)
        self.info = datasets.dataset_info(task.dataset_name)
        self.model = models.build(task.model_name, task.n_classes or self.info.n_classes)
        check_input(self.model, self.info.shape, self.info.n_classes)
        load_weights(self.model, task.weights)
        self.dense_shapes = weight_shapes(self.model)
        self.dense_macs = layer_macs(self.model, self.info.shape)
        self.dense_params = count_params(self.model)
        self.where = torch.device(task.device)
        self.model.to(self.where)
        self.data = datasets.load(task.dataset_name)
        self.validation = Images(self.data, "validation", self.where)
        self.trainer = Trainer(
            self.model,
            Images(self.data, "train", self.where),
            self.settings,
            self.settings.total_epochs,
            task.seed,
            hooks,
        )
        self.history: list[dict[str, float | int | str]] = []
        self.reports: list[dict[str, Any]] = []
        self.n_epochs = 0  # done before this run took it up
        self.began_s = time.monotonic()
        self.scheduler: CompressionScheduler | DistillerScheduler
        optimizer = self.trainer.optimizer
        if task.engine == "distiller":  # its masks and policies have no state that could be kept
            self.scheduler = DistillerScheduler(self.model, optimizer, task.schedule)
        elif (state := checkpoint.load(hooks, self.trainer)) is not None:
            self.n_epochs = int(state["n_epochs"])
            self.history, self.reports = state["notes"]["history"], state["notes"]["reports"]
            self.scheduler = dict_config(
                self.model, optimizer, task.schedule, resumed_epoch=self.n_epochs - 1
            )
            checkpoint.restore(state, self.trainer, self.scheduler)
        else:
            self.scheduler = dict_config(self.model, optimizer, task.schedule)

    def train(self) -> None:
        """Epochs under the schedule, thinning, recovery, BatchNorm."""
        settings = self.settings
        for epoch in range(self.n_epochs, settings.epochs):
            self._epoch(epoch, "schedule")
        if self.n_epochs <= settings.epochs:
            # Masks made in the last epoch act on the weights even if no minibatch followed.
            self.scheduler.mask_all_weights()
            self._thin()
        for epoch in range(max(self.n_epochs, settings.epochs), settings.total_epochs):
            self._epoch(epoch, "recovery")
        if settings.recovery_epochs:
            self.scheduler.mask_all_weights()
            self._thin()
        if settings.recalibrate_batchnorm:
            self.hooks.progress({"stage": "recalibration"})
            recalibrate_batchnorm(self.model, self.trainer.training_batches(_RECALIBRATION_BATCH))

    def finish(self) -> CompressedModel:
        """Judge and export what training left."""
        _check_finite(self.model)
        score = evaluate(self.model, self.validation, self.hooks)
        self.hooks.progress({"stage": "export", "top1": score.top1})
        with self.hooks.on_host():
            return self._export(score)

    def _export(self, score: Evaluation) -> CompressedModel:
        to_cpu(self.model)
        onnx = export_onnx(self.model, self.info.shape)
        probe = make_probe(self.model, self.data)
        rows = layer_table(self.model, self.info.shape, self.dense_shapes, self.dense_macs)
        n_weights = sum(math.prod(row.shape) for row in rows)
        return CompressedModel(
            onnx=onnx,
            weights=weights_to_bytes(
                self.model, {"model": self.task.model_name, "dataset": self.task.dataset_name}
            ),
            probe_inputs=probe.inputs,
            probe_outputs=probe.outputs,
            schedule_yaml=dump(self.task.schedule),
            metrics={
                "validation_top1": score.top1,
                "validation_top5": score.top5,
                "validation_loss": score.loss,
                "params": count_params(self.model),
                "macs": sum(row.macs for row in rows),
                "dense_params": self.dense_params,
                "dense_macs": sum(self.dense_macs.values()),
                "model_bytes": len(onnx),
                "sparsity": sum(row.n_zero for row in rows) / n_weights,
            },
            layers=[row.to_json() for row in rows],
            survival=trace(self.model, onnx, probe),
            history=self.history,
            thinning=self.reports,
            warnings=list(self.scheduler.warnings),
        )

    def _epoch(self, epoch: int, stage: str) -> None:
        settings, scheduler = self.settings, self.scheduler
        optimizer = self.trainer.optimizer
        result = self.trainer.run_epoch(epoch, scheduler, sets_lr=not _rules_lr(self.task.schedule))
        score = evaluate(self.model, self.validation, self.hooks)
        scheduler.on_epoch_end(
            epoch, optimizer=optimizer, metrics={"min": score.loss, "max": score.top1}
        )
        self.history.append(
            {
                "stage": stage,
                "epoch": epoch,
                "loss": result.loss,
                "lr": result.lr,
                "validation_top1": score.top1,
                "validation_loss": score.loss,
            }
        )
        self.hooks.progress(
            {
                "stage": "training" if stage == "schedule" else stage,
                "epoch": epoch + 1,
                "epochs": settings.total_epochs,
                "loss": result.loss,
                "top1": score.top1,
            }
        )
        if isinstance(scheduler, CompressionScheduler):
            notes = {"history": self.history, "reports": self.reports}
            checkpoint.save(self.hooks, epoch + 1, self.trainer, notes, scheduler)
        self._look_ahead(epoch + 1)

    def _look_ahead(self, n_done: int) -> None:
        """End the training where it cannot come to what is wanted of it."""
        rule, n_epochs = self.task.early_stop, self.settings.total_epochs
        curve = [float(row["validation_top1"]) for row in self.history]
        if rule is None or not rule.is_lost(curve, n_epochs):
            return
        best = rule.reachable(curve, n_epochs)
        assert best is not None  # else nothing were lost
        epoch_s = (time.monotonic() - self.began_s) / max(1, n_done - self.n_epochs)
        raise TrainingStopped(
            f"after epoch {n_done} of {n_epochs} its top1 of {curve[-1]:.4f} could reach "
            f"{best:.4f} at best, judged by {len(rule.curves)} earlier trainings; "
            f"{rule.top1:.4f} is wanted",
            best,
            self.history,
            n_epochs,
            epoch_s * (n_epochs - n_done),
        )

    def _thin(self) -> None:
        self.hooks.progress({"stage": "thinning"})
        with self.hooks.on_host():
            report = thin(self.model, self.info.shape, self.trainer.optimizer, self.scheduler)
        if report.cut or not self.reports:
            self.reports.append(report.to_json())


def _rules_lr(schedule: Mapping[str, Any]) -> bool:
    """Whether the schedule's own policies set the learning rate."""
    return any("lr_scheduler" in policy for policy in schedule.get("policies", ()))


def _check_finite(model: nn.Module) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainingDiverged(f"training diverged: {name} holds NaN or infinite values")
