"""Scikit-learn's handwritten digits as 3x32x32 images: real pictures that need no download.

Depends on: scikit-learn, torch.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # ships no types

_MAX_INTENSITY = 16.0
_SIDE = 32


def load_digit_images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the 1797 digits and enlarge them from 8x8 bilinearly, grey copied to three channels.

    Returns:
        Images uint8 (1797, 3, 32, 32) and labels int64 (1797,) in 0..9, in scikit-learn's order.

    Source: Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten Digits", test part.
    """
    bunch = load_digits()
    small = torch.from_numpy(bunch.images.astype(np.float32))[:, None] / _MAX_INTENSITY
    large = torch.nn.functional.interpolate(
        small, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False
    )
    grey = (large * 255.0).round().to(torch.uint8)  # (1797, 1, 32, 32)
    images = grey.expand(-1, 3, -1, -1).contiguous().numpy()
    return images, bunch.target.astype(np.int64)
