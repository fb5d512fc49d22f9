"""Groups of weights for thresholds and penalties, and the mask of the groups above a threshold.

Depends on: torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Dimensions that one group spans; what is left counts the groups.
SPANS = {
    "2D": (2, 3),
    "3D": (1, 2, 3),
    "Filters": (1, 2, 3),
    "Channels": (0, 2, 3),
    "4D": (0, 1, 2, 3),
    "Rows": (1,),
    "Cols": (0,),
}
"""Group type -> dimensions a group spans. ``Rows`` and ``Cols`` are those of the stored matrix."""

CRITERIA = ("Mean_Abs", "Max", "L1", "L2", "Mean_L1", "Mean_L2")


def group_fault(group_type: str, name: str, shape: Sequence[int]) -> str | None:
    """Why a parameter of that shape has no such groups, or None."""
    wanted = 2 if group_type in ("Rows", "Cols", "Rows+Cols", "Cols+Rows") else 4
    if len(shape) == wanted:
        return None
    layer = "a linear layer (2-D)" if wanted == 2 else "a convolution (4-D)"
    return f"{name} has shape {tuple(shape)}; {group_type} needs {layer}"


def group_scores(weight: Tensor, group_type: str, criterion: str) -> Tensor:
    """One score a group.

    Args:
        weight: 4-D, or 2-D for ``Rows`` and ``Cols``.
        group_type: A key of :data:`SPANS`.
        criterion: One of :data:`CRITERIA`; ``Mean_L2`` is the L2 norm over the group's size,
            ``Mean_Abs`` is ``Mean_L1``. ``Rows`` and ``Cols`` have the other one's size.

    Returns:
        Tensor of ``weight``'s dimensions, 1 where a group spans.
    """
    dims = SPANS[group_type]
    if criterion == "Max":
        return weight.abs().amax(dim=dims, keepdim=True)
    p = 2 if criterion in ("L2", "Mean_L2") else 1
    norm: Tensor = torch.linalg.vector_norm(weight, p, dim=dims, keepdim=True)
    if criterion in ("L1", "L2"):
        return norm
    # The original divides rows by the number of rows and columns by the number of columns;
    # thresholds in schedules were tuned with that.
    counted = {"Rows": (0,), "Cols": (1,)}.get(group_type, dims)
    size = 1
    for dim in counted:
        size *= weight.shape[dim]
    return norm / size


def keep_groups(weight: Tensor, group_type: str, threshold: float, criterion: str) -> Tensor:
    """Keep the groups that score above a threshold.

    Returns:
        Boolean of ``weight``'s shape, True = kept: an expanded view, one byte a group.
    """
    keep = group_scores(weight.detach(), group_type, criterion) > threshold
    return keep.expand(weight.shape)
