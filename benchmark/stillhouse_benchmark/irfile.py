"""The weights in a file of OpenVINO's own form (IR): an ``.xml`` and the ``.bin`` beside it.

Depends on: numpy. Reads the versions 10 (2021.4, its Model Optimizer) and 11 (today's).
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillhouse_benchmark.survival import LayerWeights

if TYPE_CHECKING:
    import numpy.typing as npt

TYPES = {"f32": np.float32, "f16": np.float16}
# Half precision is written as a constant of its own, which is then converted.
ENDINGS = (".weight_compressed", ".weight")


def read_weights(path: Path) -> tuple[LayerWeights, ...]:
    """Weights of every layer that bears a torch name (``<module>.weight``), in the file's order.

    Args:
        path: The ``.xml``.

    Raises:
        ValueError: a constant lies outside the ``.bin``, or has an unknown type.
    """
    data = np.memmap(str(path.with_suffix(".bin")), dtype=np.uint8, mode="r")
    rows = []
    for layer in ElementTree.parse(str(path)).getroot().iter("layer"):
        name = str(layer.get("name"))
        ending = next((end for end in ENDINGS if name.endswith(end)), None)
        told = layer.find("data")
        if layer.get("type") != "Const" or ending is None or told is None:
            continue
        rows.append(weights_row(name[: -len(ending)], _constant(dict(told.attrib), data)))
    return tuple(rows)


def weights_row(layer: str, weight: npt.NDArray[Any]) -> LayerWeights:
    """Count a weight's zeros.

    Args:
        layer: Torch module path.
        weight: At least one dimension, the outputs first.
    """
    n_nonzero = int(np.count_nonzero(weight))
    is_kept: npt.NDArray[np.bool_] = np.any(weight.reshape(weight.shape[0], -1), axis=1)
    return LayerWeights(
        layer=layer,
        shape=tuple(int(size) for size in weight.shape),
        n_weights=int(weight.size),
        n_nonzero=n_nonzero,
        sparsity=1.0 - n_nonzero / weight.size,
        filter_sparsity=1.0 - int(is_kept.sum()) / len(is_kept),
    )


def _constant(told: dict[str, str], data: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    kind = told["element_type"]
    if kind not in TYPES:
        raise ValueError(f"weights of type {kind}; known are {', '.join(TYPES)}")
    offset, size = int(told["offset"]), int(told["size"])
    if offset + size > len(data):
        raise ValueError(f"bytes {offset} to {offset + size} of a file of {len(data)}")
    shape = [int(part) for part in told["shape"].split(",")]
    array: npt.NDArray[Any] = data[offset : offset + size].view(TYPES[kind]).reshape(shape)
    return array
