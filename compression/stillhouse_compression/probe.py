"""A probe batch: a few inputs and what torch makes of them, for whoever runs the ONNX graph.

Depends on: numpy, torch.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stillhouse_compression.datasets import Dataset
from stillhouse_compression.modes import evaluating
from stillhouse_compression.train import Images

N_PROBES = 32


@dataclass(frozen=True)
class Probe:
    """Inputs and reference outputs as ``.npy`` bytes.

    Attributes:
        inputs: float32 (n, C, H, W), normalised.
        outputs: float32 (n, classes), torch's logits on the CPU.
    """

    inputs: bytes
    outputs: bytes


@torch.no_grad()
def make_probe(model: nn.Module, data: Dataset, n: int = N_PROBES) -> Probe:
    """Run the first validation images through a network.

    Args:
        model: On the CPU; evaluation mode is used and put back.
        data: Its validation split is read.
        n: Images at most.
    """
    images = Images(data, "validation", torch.device("cpu"))
    x = images.normalise(images.augmentation.centre(images.take(slice(0, n))))
    with evaluating(model):
        outputs = model(x)
    return Probe(npy_bytes(x.numpy()), npy_bytes(outputs.numpy()))


def npy_bytes(array: NDArray[np.generic]) -> bytes:
    """An array as the bytes of a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
