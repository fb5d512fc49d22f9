"""Random changes of training images, drawn on the CPU, applied where the images are.

Depends on: torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Shift or crop, and mirror where left and right mean nothing.

    Attributes:
        max_shift: Pixels an image moves at most, each way; what comes in is ``fill``.
        is_mirrored: Whether every second image, by chance, is turned left to right.
        fill: Pixel value 0..255 of what comes in.
        crop: Side of the square that is cut out of a larger image, at a random place; in place
            of a shift.
    """

    max_shift: int = 0
    is_mirrored: bool = False
    fill: int = 0
    crop: int = 0

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Change a batch.

        Args:
            images: uint8 (batch, channels, height, width) on any device; not changed.
            generator: A CPU generator; the same state gives the same changes on every device.

        Returns:
            A batch of the same shape (but for ``crop``), type and device.
        """
        n, _, height, width = images.shape
        if self.crop:
            images = _at_random(images, self.crop, self.crop, generator)
        elif self.max_shift:
            padded = torch.nn.functional.pad(images, (self.max_shift,) * 4, value=self.fill)
            images = _at_random(padded, height, width, generator)
        if self.is_mirrored:
            is_turned = (torch.rand(n, generator=generator) < 0.5).to(images.device)
            images = torch.where(is_turned[:, None, None, None], images.flip(3), images)
        return images

    def centre(self, images: Tensor) -> Tensor:
        """Cut the middle out of a batch that is larger than ``crop``; nothing is drawn."""
        if not self.crop or images.shape[2:] == (self.crop, self.crop):
            return images
        top, left = (images.shape[2] - self.crop) // 2, (images.shape[3] - self.crop) // 2
        return images[:, :, top : top + self.crop, left : left + self.crop]


def _at_random(images: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Cut a part of the given size out of each image, every place as likely as another."""
    n, rooms = len(images), (images.shape[2] - height, images.shape[3] - width)
    if rooms[0] == rooms[1]:
        starts = torch.randint(0, rooms[0] + 1, (2, n), generator=generator, dtype=torch.int64)
    else:
        starts = torch.stack(
            [torch.randint(0, room + 1, (n,), generator=generator) for room in rooms]
        )
    starts = starts.to(images.device)
    batch = torch.arange(n, device=images.device)[:, None, None]
    rows = torch.arange(height, device=images.device)[None, :, None] + starts[0, :, None, None]
    columns = torch.arange(width, device=images.device)[None, None] + starts[1, :, None, None]
    # Advanced indices apart from one another put the channels last.
    return images[batch, :, rows, columns].permute(0, 3, 1, 2)
