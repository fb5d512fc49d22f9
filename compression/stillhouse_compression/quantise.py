"""A network in int8, for who asks which device takes it.

Depends on: onnx; NNCF where it is installed (`pip install nncf`), which nothing else here needs.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from typing import Any

import numpy as np
import onnx

from stillhouse_compression.errors import ExportError


def quantise(exported: bytes, inputs: bytes) -> bytes:
    """Quantise weights and activations to int8, ranges taken from a probe batch.

    Args:
        exported: ONNX of batch 1.
        inputs: ``.npy`` float32 (n, C, H, W), normalised.

    Returns:
        ONNX with QuantizeLinear and DequantizeLinear nodes.

    Raises:
        ExportError: NNCF is not installed, or cannot quantise this network.

    Source: NNCF's post-training quantisation, its default settings.
    """
    # It tells its progress on stdout, which belongs to whoever asked for JSON.
    with contextlib.redirect_stdout(sys.stderr):
        return _quantised(exported, inputs)


def _quantised(exported: bytes, inputs: bytes) -> bytes:
    try:
        nncf: Any = importlib.import_module("nncf")
    except ImportError as error:
        raise ExportError(f"int8 needs NNCF ({error}): pip install nncf") from error
    images = np.load(io.BytesIO(inputs))
    model = onnx.load_from_string(exported)
    name = model.graph.input[0].name
    batches = [{name: images[i : i + 1]} for i in range(len(images))]
    try:
        made = nncf.quantize(model, nncf.Dataset(batches), subset_size=len(batches))
    except (RuntimeError, ValueError) as error:
        raise ExportError(f"NNCF cannot quantise this network: {error}") from error
    return bytes(made.SerializeToString())
