"""A baseline: one named network trained by one recipe on one data set.

Depends on: torch. A plain function of plain data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import stillhouse_compression.datasets as datasets
import stillhouse_compression.models as models
from stillhouse_compression import checkpoint
from stillhouse_compression.evaluate import Evaluation, evaluate
from stillhouse_compression.export import export_onnx
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.layers import check_input, count_params, layer_table, total_macs
from stillhouse_compression.layout import to_cpu
from stillhouse_compression.model_card import versions
from stillhouse_compression.probe import make_probe
from stillhouse_compression.seeding import seeded
from stillhouse_compression.train import Images, Trainer
from stillhouse_compression.training import Recipe
from stillhouse_compression.weights import weights_to_bytes


@dataclass(frozen=True)
class TrainedBaseline:
    """A trained network and everything a study needs of it.

    Attributes:
        weights: safetensors bytes.
        onnx: ONNX bytes, opset 13, named by torch's modules.
        probe_inputs: ``.npy`` float32 (n, C, H, W), normalised validation images.
        probe_outputs: ``.npy`` float32 (n, classes), torch's logits for them.
        metrics: ``validation_top1``, ``validation_top5``, ``validation_loss``, ``test_top1``,
            ``test_top5``, ``params``, ``macs``, ``onnx_bytes``, ``best_epoch``.
        layers: `LayerRow.to_json` of each convolution and linear layer.
        history: For each epoch ``epoch, loss, lr, validation_top1, validation_loss``.
        card: What it was made from and how good it is: model, data set, split hash, recipe, seed,
            metrics, versions; `card_text` writes it for people.
    """

    weights: bytes
    onnx: bytes
    probe_inputs: bytes
    probe_outputs: bytes
    metrics: dict[str, float]
    layers: list[dict[str, Any]]
    history: list[dict[str, float]]
    card: dict[str, Any] = field(default_factory=dict)


def train_baseline(
    model_name: str,
    dataset_name: str,
    recipe: Recipe,
    seed: int,
    hooks: Hooks | None = None,
    n_threads: int | None = None,
    device: str = "cpu",
) -> TrainedBaseline:
    """Train a network, from published weights where it has some.

    The test split is looked at once, at the end.

    The same arguments give the same bytes on the same kind of machine, and so does a training that
    was taken up again from its hooks' checkpoint.

    Args:
        model_name: A network of the registry.
        dataset_name: A data set of the registry; its classes set the network's outputs.
        recipe: How to train.
        seed: Of the weights, the order of images and their changes.
        hooks: Progress, cancellation, host lock.
        n_threads: Threads of torch's CPU kernels; None leaves them as they are.
        device: torch's name of it, ``cpu`` or ``cuda``.

    Raises:
        CompressionError: No such network or data set, or they do not fit.
        ExportError: The network does not become an ONNX graph; nothing was trained.
        Cancelled: Somebody asked for the end.
        TrainingDiverged: The loss became NaN or infinite.
    """
    hooks = hooks or Hooks()
    info = datasets.dataset_info(dataset_name)
    network = models.model_info(model_name)
    where = torch.device(device)
    with seeded(seed, n_threads):
        model = models.build(model_name, info.n_classes)
        if network.pretrain is not None:
            network.pretrain(model)
        check_input(model, info.shape, info.n_classes)
        with hooks.on_host():
            export_onnx(model, info.shape)  # one that cannot be exported costs no training
        model.to(where)
        data = datasets.load(dataset_name)
        validation = Images(data, "validation", where)
        trainer = Trainer(model, Images(data, "train", where), recipe, recipe.epochs, seed, hooks)
        task = {
            "model": model_name,
            "dataset": dataset_name,
            "split_hash": data.split_hash,
            "recipe": recipe.to_mapping(),
            "seed": seed,
        }
        history: list[dict[str, float]] = []
        best: dict[str, Tensor] = {}
        best_epoch, best_top1, n_epochs = -1, -1.0, 0
        if (state := checkpoint.load(hooks, trainer)) is not None:
            checkpoint.restore(state, trainer)
            n_epochs, notes = int(state["n_epochs"]), state["notes"]
            history, best_epoch, best_top1 = (
                notes["history"],
                notes["best_epoch"],
                notes["best_top1"],
            )
            best = {name: tensor.to(where) for name, tensor in notes["best"].items()}
        for epoch in range(n_epochs, recipe.epochs):
            result = trainer.run_epoch(epoch)
            score = evaluate(model, validation, hooks)
            history.append(_row(epoch, result.loss, result.lr, score))
            hooks.progress(
                {
                    "stage": "training",
                    "epoch": epoch + 1,
                    "epochs": recipe.epochs,
                    "loss": result.loss,
                    "top1": score.top1,
                }
            )
            if recipe.checkpoint == "last" or score.top1 >= best_top1:
                best_epoch, best_top1 = epoch, score.top1
                best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            notes = {
                "history": history,
                "best": best,
                "best_epoch": best_epoch,
                "best_top1": best_top1,
            }
            checkpoint.save(hooks, epoch + 1, trainer, notes)
        if best:
            model.load_state_dict(best)
        score = evaluate(model, validation, hooks)
        test = evaluate(model, Images(data, "test", where), hooks)
        hooks.progress({"stage": "export", "epoch": recipe.epochs, "epochs": recipe.epochs})
        with hooks.on_host():
            to_cpu(model)
            onnx = export_onnx(model, info.shape)
            probe = make_probe(model, data)
    metrics = {
        "validation_top1": score.top1,
        "validation_top5": score.top5,
        "validation_loss": score.loss,
        "test_top1": test.top1,
        "test_top5": test.top5,
        "params": count_params(model),
        "macs": total_macs(model, info.shape),
        "onnx_bytes": len(onnx),
        "best_epoch": best_epoch,
    }
    return TrainedBaseline(
        weights=weights_to_bytes(model, {"model": model_name, "dataset": dataset_name}),
        onnx=onnx,
        probe_inputs=probe.inputs,
        probe_outputs=probe.outputs,
        metrics=metrics,
        layers=[row.to_json() for row in layer_table(model, info.shape)],
        history=history,
        card=task
        | {
            "n_classes": info.n_classes,
            "splits": dict(info.splits),
            "metrics": metrics,
            "device": device,
            "n_threads": n_threads,
            "torch": torch.__version__,
            "versions": versions(),
        },
    )


def _row(epoch: int, loss: float, lr: float, score: Evaluation) -> dict[str, float]:
    return {
        "epoch": epoch,
        "loss": loss,
        "lr": lr,
        "validation_top1": score.top1,
        "validation_loss": score.loss,
    }
