"""Cutting channels out of modules: new, smaller parameters in the places of the old ones.

Depends on: torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from stillhouse_compression.thinning.graph import Slot
from stillhouse_compression.thinning.shapes import describe_shapes, is_depthwise

Selection = tuple[tuple[int, Tensor], ...]
"""Pairs (dimension, indices kept, int64, ascending), applied one after the other."""

_ATTRIBUTES = (
    "out_channels",
    "in_channels",
    "groups",
    "out_features",
    "in_features",
    "num_features",
    "num_parameters",
)


@dataclass(frozen=True)
class ParameterCut:
    """One parameter that was replaced by a smaller one.

    Attributes:
        name: Its name in the network, the same before and after.
        old: The parameter that was there; no longer the network's.
        new: The parameter that is there now.
        selection: What was kept of which dimension.
    """

    name: str
    old: nn.Parameter
    new: nn.Parameter
    selection: Selection


def select(tensor: Tensor, selection: Selection) -> Tensor:
    """Keep only the selected indices of a tensor; always a copy."""
    for dim, kept in selection:
        tensor = tensor.index_select(dim, kept.to(tensor.device))
    return tensor.clone() if not selection else tensor


class Surgery:
    """Cuts slots out of a network, and can put everything back.

    Args:
        model: Changed in place by `cut`.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._before: list[tuple[nn.Module, dict[str, Any], dict[str, Any]]] = []
        self.cuts: list[ParameterCut] = []

    @torch.no_grad()
    def cut(self, slots: frozenset[Slot]) -> None:
        """Remove channels; gradients, where there are any, are cut along."""
        gone: dict[str, dict[str, set[int]]] = {}
        for slot in slots:
            gone.setdefault(slot.module, {}).setdefault(slot.side, set()).add(slot.index)
        for name, module in self._model.named_modules():
            if name in gone:
                self._cut_module(name, module, gone[name])

    def undo(self) -> None:
        """Put the old tensors and channel counts back."""
        for module, tensors, attributes in self._before:
            for name, tensor in tensors.items():
                setattr(module, name, tensor)
            for name, value in attributes.items():
                setattr(module, name, value)
        self._before.clear()
        self.cuts.clear()

    def _cut_module(self, path: str, module: nn.Module, gone: Mapping[str, set[int]]) -> None:
        tensors = {
            name: tensor
            for name in ("weight", "bias", "running_mean", "running_var")
            if isinstance(tensor := getattr(module, name, None), Tensor)
        }
        attributes = {name: getattr(module, name) for name in _ATTRIBUTES if hasattr(module, name)}
        self._before.append((module, tensors, attributes))
        was_depthwise = is_depthwise(module)
        out_dim, in_dim = 0, 1
        if isinstance(module, _ConvNd) and module.transposed:
            out_dim, in_dim = 1, 0
        outputs = _kept(_n_outputs(module), gone.get("out", set()))
        inputs = None
        if "in" in gone:
            width = _n_inputs(module)
            # Every group loses the same positions (plan.py), so the first group's stand for all.
            inputs = _kept(width, {index for index in gone["in"] if index < width})
        for name, tensor in tensors.items():
            selection: list[tuple[int, Tensor]] = []
            if "out" in gone:
                selection.append((out_dim if name == "weight" else 0, outputs))
            if inputs is not None and name == "weight":
                selection.append((in_dim, inputs))
            if not selection:
                continue
            smaller = select(tensor, tuple(selection))
            if isinstance(tensor, nn.Parameter):
                new = nn.Parameter(smaller, requires_grad=tensor.requires_grad)
                if tensor.grad is not None:
                    new.grad = select(tensor.grad, tuple(selection))
                setattr(module, name, new)
                full = f"{path}.{name}" if path else name
                self.cuts.append(ParameterCut(full, tensor, new, tuple(selection)))
            else:
                setattr(module, name, smaller)
        describe_shapes(module, was_depthwise)


def _n_outputs(module: nn.Module) -> int:
    if isinstance(module, _ConvNd):
        return module.out_channels
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, _BatchNorm):
        return module.num_features
    assert isinstance(module, nn.PReLU)
    return module.num_parameters


def _n_inputs(module: nn.Module) -> int:
    """Input channels a group."""
    if isinstance(module, _ConvNd):
        return module.in_channels // module.groups
    assert isinstance(module, nn.Linear)
    return module.in_features


def _kept(n: int, gone: set[int]) -> Tensor:
    return torch.tensor([index for index in range(n) if index not in gone], dtype=torch.int64)


def as_selections(cuts: Sequence[ParameterCut]) -> dict[str, Selection]:
    """The cuts by parameter name, as a scheduler takes them."""
    return {cut.name: cut.selection for cut in cuts}
