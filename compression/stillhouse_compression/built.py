"""A name for the network that was built: what a device's time depends on, and no weight's value.

Depends on: onnx, numpy.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import onnx
from onnx import numpy_helper

_FLOATS = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.BFLOAT16,
    }
)
# Some runtimes store weights of many zeros in another way: then a device takes another time.
_ZERO_STEPS = 20


def built_hash(graph: bytes) -> str:
    """Name an exported network by its operations and shapes.

    Two networks of one name hold the same operations on tensors of the same shapes and types, and
    nearly the same share of zeros (to a twentieth) in each: a device takes the same time for both.
    Constants that are no floating-point numbers (shapes, axes) count with their values.

    Args:
        graph: ONNX bytes of `export_onnx`, whose names do not depend on the weights.

    Returns:
        64 hexadecimal digits.
    """
    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        if tensor.data_type not in _FLOATS:
            continue
        values = numpy_helper.to_array(tensor)
        share = float(np.mean(values == 0)) if values.size else 0.0
        kept = onnx.TensorProto(
            name=tensor.name,
            data_type=tensor.data_type,
            dims=tensor.dims,
            doc_string=str(math.floor(share * _ZERO_STEPS)),
        )
        tensor.CopyFrom(kept)
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
