"""What the registry knows of a network.

Depends on: torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from stillhouse_compression.errors import CompressionError


@dataclass(frozen=True)
class ModelInfo:
    """One network of the registry.

    Attributes:
        name: What `build` takes.
        description: One sentence.
        input_shape: (channels, height, width) it was designed for.
        n_classes_default: Classes when nobody says.
        make: Number of classes -> freshly initialised network, whose forward takes
            (batch, channels, height, width) and gives logits of shape (batch, classes).
        pretrain: Puts published weights into such a network; None where there are none. A
            baseline starts from them.
    """

    name: str
    description: str
    input_shape: tuple[int, int, int]
    n_classes_default: int
    make: Callable[[int], nn.Module]
    pretrain: Callable[[nn.Module], None] | None = None

    def __post_init__(self) -> None:
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise CompressionError(
                f"network {self.name!r}: input_shape must be (channels, height, width), "
                f"got {self.input_shape}"
            )
        if self.n_classes_default < 2:
            raise CompressionError(
                f"network {self.name!r}: n_classes_default must be at least 2, "
                f"got {self.n_classes_default}"
            )
