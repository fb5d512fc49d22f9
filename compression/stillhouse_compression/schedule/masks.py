"""The mask of every parameter, and how masks act on weights.

A mask is boolean, True where a weight is kept, and costs at most one byte a weight: masks
of whole structures are expanded views of one entry a structure.

Depends on: torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class ParameterMask:
    """The mask of one parameter and the way it is applied.

    Attributes:
        name: The parameter's name.
        mask: Boolean tensor of the parameter's shape, True = kept; None = no mask.
        scale: Factor of the kept weights (Bernoulli pruners), used where the unmasked
            weights come back (double copies), so that it does not compound.
        is_regularization_mask: Drop the mask once it was applied.
        use_double_copies: Keep the unmasked weights while the masked ones run forward.
        mask_on_forward_only: Do not mask again after the optimizer's step.
        is_applied: Whether this mask acts already for the forward pass to come: each of several
            policies would do it again.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.mask: Tensor | None = None
        self.scale = 1.0
        self.is_regularization_mask = False
        self.use_double_copies = False
        self.mask_on_forward_only = False
        self.is_applied = False
        self._unmasked: Tensor | None = None
        self._hook: RemovableHandle | None = None

    def set(self, mask: Tensor | None, scale: float = 1.0) -> None:
        """Replace the mask; it acts at the next application."""
        self.mask = mask
        self.scale = scale
        self.is_applied = False

    @torch.no_grad()
    def apply(self, parameter: Tensor, keep_copy: bool = True) -> None:
        """Zero the parameter's masked weights in place, as the forward pass needs them.

        Args:
            parameter: The parameter.
            keep_copy: Keep the unmasked weights for :meth:`revert`, if the flag asks for it.
        """
        if self.mask is None:
            return
        self.is_applied = True
        # A second policy must not stash what the first has already masked.
        has_copy = self.use_double_copies and keep_copy and self._unmasked is None
        if has_copy:
            self._unmasked = parameter.detach().clone()
        parameter.mul_(self._mask_for(parameter))
        if has_copy and self.scale != 1.0:
            parameter.mul_(self.scale)
        if self.is_regularization_mask:
            self.mask = None

    @torch.no_grad()
    def zero(self, parameter: Tensor) -> None:
        """Zero the parameter's masked weights in place, whatever the flags say."""
        if self.mask is not None:
            parameter.mul_(self._mask_for(parameter))

    @torch.no_grad()
    def revert(self, parameter: Tensor) -> None:
        """Bring the unmasked weights back, if they were kept."""
        if self._unmasked is not None:
            parameter.copy_(self._unmasked)
            self._unmasked = None

    @property
    def masks_gradient(self) -> bool:
        """Whether gradients are masked as well."""
        return self._hook is not None

    def hook_gradient(self, parameter: Tensor) -> None:
        """Multiply the parameter's gradients by the mask from now on."""
        self.unhook_gradient()
        hook = parameter.register_hook(self._mask_gradient)  # type: ignore[no-untyped-call]  # torch
        self._hook = hook

    def unhook_gradient(self) -> None:
        """Leave gradients alone again."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _mask_gradient(self, gradient: Tensor) -> Tensor:
        return gradient if self.mask is None else gradient * self._mask_for(gradient)

    def _mask_for(self, tensor: Tensor) -> Tensor:
        """The mask, where the tensor is: a network may move after its masks were made."""
        assert self.mask is not None
        if self.mask.device != tensor.device:
            self.mask = self.mask.to(tensor.device)
        return self.mask

    def cut(self, cuts: Iterable[tuple[int, Tensor]]) -> None:
        """Keep only the given indices of each dimension, as thinning did with the parameter."""
        for dim, kept in cuts:
            if self.mask is not None:
                self.mask = self.mask.index_select(dim, kept.to(self.mask.device))
            if self._unmasked is not None:
                self._unmasked = self._unmasked.index_select(dim, kept.to(self._unmasked.device))

    def state(self) -> dict[str, Any]:
        """What :meth:`load` needs, except the mask itself."""
        return {
            "scale": self.scale,
            "is_regularization_mask": self.is_regularization_mask,
            "use_double_copies": self.use_double_copies,
            "mask_on_forward_only": self.mask_on_forward_only,
            "masks_gradient": self.masks_gradient,
        }

    def load(self, state: Mapping[str, Any], parameter: Tensor) -> None:
        """Take over a saved state; gradients are hooked again where they were."""
        self.scale = float(state["scale"])
        self.is_regularization_mask = bool(state["is_regularization_mask"])
        self.use_double_copies = bool(state["use_double_copies"])
        self.mask_on_forward_only = bool(state["mask_on_forward_only"])
        self.unhook_gradient()
        if state["masks_gradient"]:
            self.hook_gradient(parameter)


class MaskTable(dict[str, ParameterMask]):
    """Parameter name -> its :class:`ParameterMask`, in the model's order."""

    @classmethod
    def of(cls, model: nn.Module) -> MaskTable:
        """An empty table for all parameters of ``model``."""
        return cls((name, ParameterMask(name)) for name, _ in model.named_parameters())

    def begin(self) -> None:
        """A minibatch begins: no mask acts on its weights yet."""
        for entry in self.values():
            entry.is_applied = False

    def active(self, parameters: Mapping[str, nn.Parameter]) -> list[tuple[ParameterMask, Tensor]]:
        """The masks that are set, each with its parameter."""
        return [
            (entry, parameters[name])
            for name, entry in self.items()
            if entry.mask is not None and name in parameters
        ]


def filter_mask(keep: Tensor, shape: torch.Size) -> Tensor:
    """Mask of ``shape`` that keeps whole slices of dimension 0.

    Args:
        keep: Boolean (filters,), True = kept.
        shape: The parameter's shape, (filters, ...).

    Returns:
        An expanded view: one byte a filter.
    """
    return keep.view(-1, *[1] * (len(shape) - 1)).expand(shape)


def channel_mask(keep: Tensor, shape: torch.Size) -> Tensor:
    """Mask of ``shape`` that keeps whole slices of dimension 1; an expanded view."""
    return keep.view(1, -1, *[1] * (len(shape) - 2)).expand(shape)
