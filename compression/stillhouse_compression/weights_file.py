"""Weights from a file: safetensors, or torch's own format read without running anything in it.

Depends on: safetensors, torch.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from stillhouse_compression.errors import CompressionError
from stillhouse_compression.weights import load_weights

_NESTED = ("state_dict", "model_state_dict", "model")  # where checkpoints keep the weights


def load_weights_file(model: nn.Module, path: Path) -> None:
    """Put the weights of a file into a network.

    Args:
        model: Changed in place; on the CPU.
        path: ``.safetensors``, or what ``torch.save`` wrote: a state dict, or a checkpoint with
            one as ``state_dict``, such as Distiller's. ``module.`` in front of names is dropped.

    Raises:
        CompressionError: The file is missing, damaged, holds more than tensors and plain values,
            or belongs to another network.
    """
    state = _read(path)
    try:
        load_weights(model, safetensors.torch.save(state))
    except CompressionError as error:
        raise CompressionError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CompressionError(
            f"{path} holds more than tensors and plain values, and could run what it likes when "
            "opened: it is not read; save `model.state_dict()` alone, or as safetensors"
        ) from error
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CompressionError(f"{path} cannot be read as weights: {error}") from error
    state = _state_of(found)
    if not state:
        raise CompressionError(f"{path} holds no state dict: no tensors by name were found")
    return {name.replace("module.", ""): tensor.contiguous() for name, tensor in state.items()}


def _state_of(found: Any) -> dict[str, Tensor]:
    if not isinstance(found, Mapping):
        return {}
    for key in _NESTED:
        if isinstance(found.get(key), Mapping):
            return _state_of(found[key])
    return {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
