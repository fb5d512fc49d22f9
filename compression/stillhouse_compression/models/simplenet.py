"""A small LeNet-like network for 32x32 colour images.

Depends on: torch.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class CifarSimpleNet(nn.Module):
    """Two 5x5 convolutions with pooling and three linear layers; the first sees a 5x5 map.

    Args:
        num_classes: Outputs of ``fc3``.

    Source: LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition",
    figure 2, for three input channels, with ReLU and max pooling.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.relu_conv1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu_conv2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.relu_fc1 = nn.ReLU()
        self.fc2 = nn.Linear(120, 84)
        self.relu_fc2 = nn.ReLU()
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, 3, 32, 32) to logits (batch, num_classes)."""
        x = self.pool1(self.relu_conv1(self.conv1(x)))
        x = self.pool2(self.relu_conv2(self.conv2(x))).flatten(1)
        x = self.relu_fc2(self.fc2(self.relu_fc1(self.fc1(x))))
        return cast(Tensor, self.fc3(x))
