"""Which elements of a tensor to keep: by threshold or by sparsity level.

Depends on: numpy, torch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Types whose order numpy's vectorised selection knows.
_NUMPY_TYPES = (torch.float32, torch.float64)


def keep_above(weight: Tensor, threshold: float | Tensor) -> Tensor:
    """Keep what is larger in magnitude than a threshold.

    Args:
        weight: Any shape.
        threshold: A scalar; a magnitude equal to it is pruned.

    Returns:
        Boolean tensor of ``weight``'s shape and device, True = kept.
    """
    return weight.abs() > threshold


def kth_smallest(values: Tensor, k: int) -> Tensor:
    """The ``k``-th smallest of ``values``, by selection and not by sorting.

    Args:
        values: Any shape, without NaN.
        k: From 1 to the number of values.

    Returns:
        Scalar tensor of ``values``'s type and device; exactly one of the values.
    """
    flat = values.detach().reshape(-1)
    if flat.device.type == "cpu" and flat.dtype in _NUMPY_TYPES:
        # Some times faster than torch.kthvalue, which copies and has no vector code.
        array = np.partition(flat.numpy(), k - 1)
        return torch.tensor(array[k - 1], dtype=flat.dtype)
    if flat.device.type == "cpu":
        return flat.kthvalue(k).values
    # kthvalue is refused on CUDA under deterministic algorithms; topk is not.
    n = flat.numel()
    if k <= n - k + 1:
        return flat.topk(k, largest=False, sorted=False).values.max()
    return flat.topk(n - k + 1, largest=True, sorted=False).values.min()


def keep_level(weight: Tensor, sparsity: float) -> Tensor | None:
    """Keep the largest weights so that a share ``sparsity`` is pruned.

    ``k = int(sparsity * n)``; the threshold is the k-th smallest magnitude, and everything
    tied with it is pruned too: of equal weights all go.

    Args:
        weight: Any shape, without NaN.
        sparsity: In [0, 1].

    Returns:
        Boolean tensor of ``weight``'s shape, True = kept; None when ``k`` is 0, which
        prunes nothing.

    Source: Distiller's level criterion.
    """
    k = int(sparsity * weight.numel())
    if k == 0:
        return None
    magnitude = weight.detach().abs()
    return magnitude > kth_smallest(magnitude, k)
