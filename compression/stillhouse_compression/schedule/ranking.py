"""Structures of a weight tensor: their scores, how many to prune, the mask of those kept.

A structure is a filter, a channel (an input column of a linear layer) or a block.

Depends on: torch, selection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stillhouse_compression.schedule.masks import channel_mask, filter_mask
from stillhouse_compression.schedule.selection import kth_smallest

GROUP_TYPES = ("Filters", "3D", "Channels", "Rows", "Blocks")
"""Group types that rankers know. ``3D`` is ``Filters``; ``Rows`` is ``Channels``: the rows of
the transposed matrix that multiplies the inputs, stored as columns."""


@dataclass(frozen=True)
class Structure:
    """How a weight tensor falls into structures.

    Attributes:
        group_type: One of :data:`GROUP_TYPES`.
        block_shape: (repetitions, depth, 1, 1) of ``Blocks``.
    """

    group_type: str
    block_shape: tuple[int, int, int, int] | None = None

    @property
    def is_filters(self) -> bool:
        """Whether a structure is a whole filter."""
        return self.group_type in ("Filters", "3D")

    def fault(self, name: str, shape: Sequence[int]) -> str | None:
        """Why a parameter of that shape has no such structures, or None."""
        found = f"{name} has shape {tuple(shape)}"
        if self.is_filters:
            return None if len(shape) in (3, 4) else f"{found}; Filters need a convolution"
        if self.group_type in ("Channels", "Rows"):
            is_known = len(shape) in (2, 4)
            return None if is_known else f"{found}; Channels need a convolution or a linear layer"
        if len(shape) != 4:
            return f"{found}; Blocks need a convolution"
        repetitions, depth = self._block(shape)
        divided = shape[0] * shape[1] if depth > 1 else shape[0]
        if divided % (repetitions * depth):
            return f"{found}; blocks of {repetitions} x {depth} do not divide it"
        return None

    def count(self, shape: Sequence[int]) -> int:
        """How many structures a parameter of that shape has."""
        if self.is_filters:
            return shape[0]
        if self.group_type in ("Channels", "Rows"):
            return shape[1]
        views = self._block_view(shape)
        return views[0] * views[2]

    def scores(self, weight: Tensor, p: int) -> Tensor:
        """The ``p``-norm of every structure, divided by its number of elements.

        Blocks keep the plain norm: all have one size.

        Returns:
            Tensor (structures,).
        """
        if self.is_filters:
            flat = weight.reshape(weight.shape[0], -1)
            return _norm(flat, p, 1) / flat.shape[1]
        if self.group_type in ("Channels", "Rows"):
            dims = [dim for dim in range(weight.dim()) if dim != 1]
            size = weight.numel() // weight.shape[1]
            return _norm(weight, p, dims) / size
        view = weight.reshape(self._block_view(weight.shape))
        return _norm(view, p, 1).reshape(-1)

    def mask(self, keep: Tensor, shape: torch.Size) -> Tensor:
        """The mask that keeps the given structures.

        Args:
            keep: Boolean (structures,), True = kept.
            shape: The parameter's shape.

        Returns:
            Boolean of ``shape``; an expanded view for filters and channels.
        """
        if self.is_filters:
            return filter_mask(keep, shape)
        if self.group_type in ("Channels", "Rows"):
            return channel_mask(keep, shape)
        n, size, positions = self._block_view(shape)
        return keep.view(n, 1, positions).expand(n, size, positions).reshape(shape)

    def _block(self, shape: Sequence[int]) -> tuple[int, int]:
        assert self.block_shape is not None
        return self.block_shape[0], self.block_shape[1]

    def _block_view(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """(blocks along the tensor, elements a block, positions): blocks run along the middle."""
        repetitions, depth = self._block(shape)
        filters, channels, kernel = shape[0], shape[1], shape[2] * shape[3]
        if depth > 1:
            size = repetitions * depth
            return filters * channels // size, size, kernel
        return filters // repetitions, repetitions, channels * kernel


def _norm(weight: Tensor, p: int, dims: int | list[int]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(weight, p, dim=dims)
    return norm


def n_to_prune(
    n_structures: int,
    fraction: float,
    group_size: int = 1,
    rounding: Callable[[float], int] = math.floor,
) -> int:
    """How many structures to prune.

    A multiple of ``group_size``, and not all of them, unless ``fraction`` is 1. Rounding up to
    such a multiple may ask for more than there are: :func:`keep_best` takes what it can.

    Args:
        n_structures: How many there are.
        fraction: Share to prune, in [0, 1].
        group_size: Structures are pruned in such numbers only, from 1 up.
        rounding: ``math.floor``, ``math.ceil`` or ``round``.
    """
    n = rounding(rounding(fraction * n_structures) / group_size) * group_size
    if n == n_structures and fraction != 1.0:
        n -= group_size
    return n


def keep_best(scores: Tensor, n: int) -> Tensor | None:
    """Keep the structures that score above the ``n``-th smallest; ties with it go too.

    Args:
        scores: Tensor (structures,).
        n: How many to prune, at least.

    Returns:
        Boolean (structures,), True = kept; None when ``n`` is 0.
    """
    if n <= 0:
        return None
    return scores > kth_smallest(scores, min(n, scores.numel()))


def drop_last(order: Tensor, n: int) -> Tensor | None:
    """Prune the last ``n`` structures of an order.

    Args:
        order: Permutation of the structures' indices, (structures,).
        n: How many to prune.

    Returns:
        Boolean (structures,), True = kept; None when ``n`` is 0.
    """
    if n == 0:
        return None
    keep = torch.ones(order.numel(), dtype=torch.bool, device=order.device)
    keep[order[-n:]] = False
    return keep
