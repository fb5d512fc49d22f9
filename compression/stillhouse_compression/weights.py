"""A network's weights as safetensors bytes, and back, thinned or not.

Depends on: safetensors, torch. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from stillhouse_compression.errors import CompressionError
from stillhouse_compression.thinning.shapes import fit_shapes


def weights_to_bytes(model: nn.Module, metadata: Mapping[str, str] | None = None) -> bytes:
    """Serialise all parameters and buffers.

    Args:
        model: On any device; not changed.
        metadata: Text that travels in the file's header.
    """
    state = {name: _plain(tensor) for name, tensor in model.state_dict().items()}
    # The header's entries are written in no fixed order: a single one keeps the bytes the same.
    header = {"stillhouse": json.dumps(dict(metadata or {}), sort_keys=True)}
    return safetensors.torch.save(state, metadata=header)


def load_weights(model: nn.Module, data: bytes) -> None:
    """Put serialised weights into a freshly built network.

    A thinned network's layers are narrower than the built one's: they are shrunk to fit first.

    Args:
        model: Changed in place; on the CPU.
        data: What `weights_to_bytes` wrote.

    Raises:
        CompressionError: No safetensors, or another network's weights.
    """
    try:
        state = safetensors.torch.load(data)
    except SafetensorError as error:
        raise CompressionError(f"these bytes are no safetensors file: {error}") from error
    wanted = set(model.state_dict())
    missing, unknown = sorted(wanted - set(state)), sorted(set(state) - wanted)
    if missing or unknown:
        raise CompressionError(
            "the weights belong to another network: "
            f"{len(missing)} tensors missing{_first(missing)}, "
            f"{len(unknown)} unknown{_first(unknown)}"
        )
    fit_shapes(model, {name: tuple(tensor.shape) for name, tensor in state.items()})
    model.load_state_dict(state)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format)


def _first(names: list[str]) -> str:
    return f" (first: {names[0]})" if names else ""
