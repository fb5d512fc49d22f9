"""ResNet-18 for 224x224, untrained: a network as large as people time, for the device's bench.

Depends on: torch.

Source: He et al. 2015, "Deep Residual Learning for Image Recognition", table 1.
"""

from __future__ import annotations

from torch import Tensor, nn

INPUT_SHAPE = (3, 224, 224)
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # width, stride of the first block


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, height, width) -> (batch, n_out, height / stride, width / stride)."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        summed: Tensor = y + self.downsample(x)
        activated: Tensor = self.relu(summed)
        return activated


def resnet18(n_classes: int = 1000) -> nn.Sequential:
    """The network, in evaluation mode."""
    blocks: list[nn.Module] = []
    n_in = 64
    for width, stride in _STAGES:
        blocks += [Block(n_in, width, stride), Block(width, width, 1)]
        n_in = width
    stem = (nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, n_classes))
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *blocks, *head).eval()
