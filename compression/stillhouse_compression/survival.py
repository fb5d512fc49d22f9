"""What is left of a network's zeros and answers when it has become an ONNX graph.

Three stages: torch's own weights, the graph's, and the graph's weights put back into a copy of the
network whose folded BatchNorms are gone. The device host tells the stages after them in the same
shape.

Depends on: numpy, onnx, torch.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from stillhouse_compression.errors import SurvivalError
from stillhouse_compression.layers import COMPUTING
from stillhouse_compression.modes import evaluating
from stillhouse_compression.probe import Probe

# Share of the largest output by which folding BatchNorm may change an answer: about 1e-6 for
# networks of 20 to 50 layers; a wrong weight changes it by a hundredth and more.
MAX_ERROR = 1e-3
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_SMALLEST_SCALE = 1e-6


def trace(model: nn.Module, exported: bytes, probe: Probe) -> list[dict[str, Any]]:
    """Look at a network, its graph, and the graph back in torch.

    Args:
        model: On the CPU; not changed.
        exported: What `export_onnx` made of it.
        probe: Inputs, and the network's own answers to them.

    Returns:
        Stages ``torch``, ``onnx`` and ``onnx in torch``, as `Stage` of docs/protocol.md.

    Raises:
        SurvivalError: Something was lost on the way, with the stage and the layer.
    """
    graph = onnx.load_from_string(exported).graph
    back = load_back(model, graph)
    reference = np.load(io.BytesIO(probe.outputs))
    inputs = torch.from_numpy(np.load(io.BytesIO(probe.inputs)))
    with torch.no_grad(), evaluating(back):
        answers = back(inputs).numpy()
    torch_version = f"torch {torch.__version__}"
    stages = [
        _stage("torch", torch_version, _module_rows(model)),
        _stage("onnx", f"torch {torch.__version__}, opset 13", _graph_rows(graph)),
        _stage("onnx in torch", torch_version, _module_rows(back), agreement(answers, reference)),
    ]
    check(stages)
    return stages


def load_back(model: nn.Module, graph: onnx.GraphProto) -> nn.Module:
    """Put a graph's weights into a copy of the network whose folded BatchNorms pass through.

    Args:
        model: Where the graph came from; not changed.
        graph: Named by torch's modules.

    Raises:
        SurvivalError: The graph lacks a layer's weight, or it has another shape.
    """
    back = copy.deepcopy(model)
    kept = {node.name for node in graph.node if node.op_type == "BatchNormalization"}
    for name, module in list(back.named_modules()):
        if isinstance(module, _NORMS) and name not in kept:
            parent, _, child = name.rpartition(".")
            setattr(back.get_submodule(parent), child, nn.Identity())
    weights = _weights(graph)
    for name, module in back.named_modules():
        if not isinstance(module, COMPUTING):
            continue
        weight, bias = weights.get(f"{name}.weight"), weights.get(f"{name}.bias")
        if weight is None or weight.shape != tuple(module.weight.shape):
            found = "none" if weight is None else f"one of shape {weight.shape}"
            raise SurvivalError(
                f"stage onnx: {name} has a weight of shape {tuple(module.weight.shape)} in torch, "
                f"the graph has {found}"
            )
        module.weight = nn.Parameter(torch.from_numpy(weight.copy()))
        if bias is not None:
            module.bias = nn.Parameter(torch.from_numpy(bias.copy()))
    return back


def check(stages: Sequence[dict[str, Any]], limit: float = MAX_ERROR) -> None:
    """Refuse a network that lost zeros, a layer or its answers on the way.

    Raises:
        SurvivalError: Names the first stage where something was lost.
    """
    before = stages[0]
    for stage in stages[1:]:
        rows = {row["layer"]: row for row in stage["layers"]}
        for row in before["layers"]:
            now = rows.get(row["layer"])
            if now is None:
                raise SurvivalError(f"stage {stage['name']}: {row['layer']} is missing")
            if now["n_nonzero"] > row["n_nonzero"]:
                raise SurvivalError(
                    f"stage {stage['name']}: {row['layer']} had {row['n_nonzero']} weights that "
                    f"are not zero in stage {before['name']}, now it has {now['n_nonzero']}"
                )
        agreed = stage["agreement"]
        if agreed is not None and not agreed["max_rel"] <= limit:  # NaN as well
            raise SurvivalError(
                f"stage {stage['name']}: outputs differ from torch's by up to "
                f"{agreed['max_abs']:.3g}, {agreed['max_rel']:.3g} of the largest output where "
                f"{limit:g} is allowed"
            )
        before = stage


def agreement(outputs: NDArray[np.float32], reference: NDArray[np.float32]) -> dict[str, float]:
    """Compare answers (n, classes) with torch's: ``max_abs``, ``max_rel``, ``top1_agreement``."""
    difference = np.abs(outputs.astype(np.float64) - reference.astype(np.float64))
    scale = max(float(np.abs(reference).max()), _SMALLEST_SCALE)
    same = outputs.argmax(axis=1) == reference.argmax(axis=1)
    return {
        "max_abs": float(difference.max()),
        "max_rel": float(difference.max()) / scale,
        "top1_agreement": float(same.mean()),
    }


def _stage(
    name: str,
    made_by: str,
    layers: Iterable[dict[str, Any]],
    agreed: dict[str, float] | None = None,
) -> dict[str, Any]:
    return {"name": name, "made_by": made_by, "layers": list(layers), "agreement": agreed}


def _module_rows(model: nn.Module) -> Iterable[dict[str, Any]]:
    for name, module in model.named_modules():
        if isinstance(module, COMPUTING):
            yield _row(name, module.weight.detach().cpu().numpy())


def _graph_rows(graph: onnx.GraphProto) -> Iterable[dict[str, Any]]:
    for name, weight in _weights(graph).items():
        if name.endswith(".weight"):
            yield _row(name.removesuffix(".weight"), weight)


def _weights(graph: onnx.GraphProto) -> dict[str, NDArray[np.float32]]:
    """Initialisers of convolution and linear nodes by name, stored as torch stores them."""
    transposed = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
    normed = {
        name
        for node in graph.node
        if node.op_type == "BatchNormalization"
        for name in node.input[1:]
    }
    found = {}
    for tensor in graph.initializer:
        if tensor.name in normed or not tensor.name.endswith((".weight", ".bias")):
            continue
        array = numpy_helper.to_array(tensor)
        found[tensor.name] = array.T if tensor.name in transposed else array
    return found


def _row(layer: str, weight: NDArray[Any]) -> dict[str, Any]:
    n_nonzero = int(np.count_nonzero(weight))
    is_kept: NDArray[np.bool_] = np.any(weight.reshape(weight.shape[0], -1), axis=1)
    return {
        "layer": layer,
        "shape": list(weight.shape),
        "n_weights": int(weight.size),
        "n_nonzero": n_nonzero,
        "sparsity": 1.0 - n_nonzero / weight.size,
        "filter_sparsity": 1.0 - int(is_kept.sum()) / len(is_kept),
    }
