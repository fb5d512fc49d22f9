"""Random changes of training images, drawn on the CPU, applied where the images are.

Depends on: torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Shift, and mirror where left and right mean nothing.

    Attributes:
        max_shift: Pixels an image moves at most, each way; what comes in is ``fill``.
        is_mirrored: Whether every second image, by chance, is turned left to right.
        fill: Pixel value 0..255 of what comes in.
    """

    max_shift: int = 0
    is_mirrored: bool = False
    fill: int = 0

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Change a batch.

        Args:
            images: uint8 (batch, channels, height, width) on any device; not changed.
            generator: A CPU generator; the same state gives the same changes on every device.

        Returns:
            A batch of the same shape, type and device.
        """
        n, _, height, width = images.shape
        if self.max_shift:
            shifts = torch.randint(
                0, 2 * self.max_shift + 1, (2, n), generator=generator, dtype=torch.int64
            ).to(images.device)
            padded = torch.nn.functional.pad(images, (self.max_shift,) * 4, value=self.fill)
            batch = torch.arange(n, device=images.device)[:, None, None]
            rows = (
                torch.arange(height, device=images.device)[None, :, None] + shifts[0, :, None, None]
            )
            columns = (
                torch.arange(width, device=images.device)[None, None] + shifts[1, :, None, None]
            )
            # Advanced indices apart from one another put the channels last.
            images = padded[batch, :, rows, columns].permute(0, 3, 1, 2)
        if self.is_mirrored:
            is_turned = (torch.rand(n, generator=generator) < 0.5).to(images.device)
            images = torch.where(is_turned[:, None, None, None], images.flip(3), images)
        return images
