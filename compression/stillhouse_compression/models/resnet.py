"""Residual networks for 32x32 images, with the layer names Distiller schedules use.

Depends on: torch.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from stillhouse_compression.models.initial import initialise

_WIDTHS = (16, 32, 64)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut.

    Every activation is a module of its own, so that rankers which look at activations find it
    (``conv1`` is followed by ``relu1``).

    Args:
        n_in: Channels that come in.
        n_out: Channels that go out.
        stride: Stride of the first convolution and of the shortcut, 1 or 2.
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or n_in != n_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm2d(n_out)
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, n_in, height, width) to (batch, n_out, height / stride, width / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return cast(Tensor, self.relu2(out + shortcut))


class CifarResNet(nn.Module):
    """A stem and three stages of residual blocks, 16, 32 and 64 channels wide.

    Depth is ``6 * n_blocks + 2``. Shortcuts that change shape are 1x1 convolutions
    (``layer2.0.downsample.0``), as in Distiller's networks; the paper pads with zeros there.

    Args:
        n_blocks: Blocks a stage.
        num_classes: Outputs of ``fc``.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2.
    """

    def __init__(self, n_blocks: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.relu = nn.ReLU()
        self.layer1 = _stage(_WIDTHS[0], _WIDTHS[0], n_blocks, stride=1)
        self.layer2 = _stage(_WIDTHS[0], _WIDTHS[1], n_blocks, stride=2)
        self.layer3 = _stage(_WIDTHS[1], _WIDTHS[2], n_blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(_WIDTHS[2], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, 3, height, width) to logits (batch, num_classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return cast(Tensor, self.fc(self.avgpool(x).flatten(1)))


def _stage(n_in: int, n_out: int, n_blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(n_in, n_out, stride)
    return nn.Sequential(first, *(BasicBlock(n_out, n_out, 1) for _ in range(n_blocks - 1)))
