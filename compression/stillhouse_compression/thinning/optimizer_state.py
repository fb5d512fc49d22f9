"""An optimizer that goes on with smaller parameters: momentum and its kin cut along.

Depends on: torch, cut, shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stillhouse_compression.thinning.cut import ParameterCut, Selection, select
from stillhouse_compression.thinning.shapes import fit_shapes


@torch.no_grad()
def follow_cuts(optimizer: torch.optim.Optimizer, cuts: Sequence[ParameterCut]) -> None:
    """Replace cut parameters in an optimizer, in groups and state.

    State tensors of the parameter's shape are cut like it; factored ones (Adafactor's rows and
    columns) are cut where they have the parameter's size and kept where they have size 1;
    scalars (step counts) stay. LBFGS's curvature history spans all parameters in one vector and
    cannot be cut: it starts anew.

    Args:
        optimizer: Any of torch's; changed in place. Parameters it does not hold are ignored.
        cuts: What thinning replaced.
    """
    by_old = {cut.old: cut for cut in cuts}
    for group in optimizer.param_groups:
        group["params"] = [
            by_old[parameter].new if parameter in by_old else parameter
            for parameter in group["params"]
        ]
    if isinstance(optimizer, torch.optim.LBFGS):
        if cuts:
            optimizer.state.clear()
            # LBFGS keeps its own list of parameters beside the groups.
            optimizer._params = optimizer.param_groups[0]["params"]
            optimizer._numel_cache = None
        return
    for old, cut in by_old.items():
        if old in optimizer.state:
            state = optimizer.state.pop(old)
            optimizer.state[cut.new] = _cut_state(state, tuple(old.shape), cut.selection)


def fit_network(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Shrink a dense network and its optimizer to a thinned one's shapes; values come later.

    Args:
        model: Changed in place where a shape differs.
        optimizer: Goes on with the new parameters.
        shapes: Parameter or buffer name -> shape wanted.

    Raises:
        CompressionError: A shape has other dimensions or is larger than the dense one.
    """
    before = dict(model.named_parameters())
    fit_shapes(model, shapes)
    if optimizer is None:
        return
    cuts = []
    for name, new in model.named_parameters():
        old = before[name]
        if new is not old:
            kept = tuple((dim, torch.arange(size)) for dim, size in enumerate(new.shape))
            cuts.append(ParameterCut(name, old, new, kept))
    follow_cuts(optimizer, cuts)


def _cut_state(
    state: Mapping[str, Any], shape: tuple[int, ...], selection: Selection
) -> dict[str, Any]:
    return {
        key: _cut_tensor(value, shape, selection) if isinstance(value, Tensor) else value
        for key, value in state.items()
    }


def _cut_tensor(tensor: Tensor, shape: tuple[int, ...], selection: Selection) -> Tensor:
    if tensor.dim() != len(shape):
        return tensor
    fitting = tuple((dim, kept) for dim, kept in selection if tensor.shape[dim] == shape[dim])
    return select(tensor, fitting)
