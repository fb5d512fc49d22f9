"""A network as a checked ONNX graph whose nodes bear the names of torch's modules.

Depends on: torch, onnx. The only module that knows torch's legacy exporter: the newer one emits
opset 18 and above, which the runtime of the NCS2 stick does not read.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import onnx
import torch
from torch import Tensor, nn

from stillhouse_compression.errors import ExportError
from stillhouse_compression.layers import example_input
from stillhouse_compression.modes import evaluating
from stillhouse_compression.onnx_names import name_canonically

OPSET = 13
INPUT_NAME = "input"


def export_onnx(model: nn.Module, input_shape: Sequence[int]) -> bytes:
    """Export in evaluation mode for batch 1 and a fixed shape, BatchNorm folded.

    Every node's name is its output tensor's name, and a convolution's or linear layer's is its
    module path; their weights are ``<module>.weight`` and ``<module>.bias``; the graph's output
    carries the last layer's name. The same weights give the same bytes.

    Args:
        model: Not changed.
        input_shape: (channels, height, width).

    Returns:
        The serialised ONNX model, opset 13.

    Raises:
        ExportError: torch cannot export the network, or names and shapes do not fit.
    """
    example = example_input(model, input_shape)
    try:
        with evaluating(model):
            calls = _computing_calls(model, example)
            graph_bytes = _export_legacy(model, example)
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise ExportError(
            f"torch cannot export this network: {_first_line(error)}; write its forward with "
            f"operations that ONNX's opset {OPSET} has, and without branches on values"
        ) from error
    exported = onnx.load_from_string(graph_bytes)
    name_canonically(exported, model, calls, INPUT_NAME)
    try:
        onnx.checker.check_model(exported, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"the exported graph is not valid: {_first_line(error)}") from error
    return bytes(exported.SerializeToString(deterministic=True))


def _export_legacy(model: nn.Module, example: Tensor) -> bytes:
    """Run the TorchScript-based exporter; its deprecation is known and its replacement unfit."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.")
        warnings.filterwarnings(
            "ignore", message=".*legacy TorchScript-based ONNX export", category=DeprecationWarning
        )
        torch.onnx.export(
            model,
            (example,),
            buffer,  # type: ignore[arg-type]  # a file object is taken too
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            do_constant_folding=True,
            training=torch.onnx.TrainingMode.EVAL,
        )
    return buffer.getvalue()


def _computing_calls(model: nn.Module, example: Tensor) -> list[str]:
    """Module paths of convolution and linear layers in the order in which they run."""
    calls: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.Linear)
    ]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
