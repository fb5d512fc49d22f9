"""MobileNetV2 with torchvision's layer names, for large and for 32x32 images.

Depends on: torch.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

from torch import Tensor, nn

from stillhouse_compression.models.initial import initialise

# The paper's table 2: expansion, channels, blocks, stride of the first block.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_N_STEM = 32
_N_HEAD = 1280


class InvertedResidual(nn.Module):
    """Expand with 1x1, filter each channel alone with 3x3, project with 1x1.

    Args:
        n_in: Channels that come in.
        n_out: Channels that go out.
        stride: Stride of the depthwise convolution.
        expansion: Channels of the middle, as a multiple of ``n_in``; 1 leaves the first step out.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        n_middle = n_in * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(_conv_bn_relu6(n_in, n_middle, kernel=1, stride=1, groups=1))
        layers.append(_conv_bn_relu6(n_middle, n_middle, kernel=3, stride=stride, groups=n_middle))
        layers.append(nn.Conv2d(n_middle, n_out, 1, bias=False))
        layers.append(nn.BatchNorm2d(n_out))
        self.conv = nn.Sequential(*layers)
        self.has_shortcut = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, n_in, height, width) to (batch, n_out, height / stride, width / stride)."""
        out = self.conv(x)
        return cast(Tensor, x + out if self.has_shortcut else out)


class MobileNetV2(nn.Module):
    """Seventeen inverted residuals between a stem and a 1x1 head.

    Args:
        num_classes: Outputs of ``classifier.1``.
        is_small_input: For 32x32 images: the stem and the second stage keep their resolution.

    Source: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2.
    """

    def __init__(self, num_classes: int, is_small_input: bool) -> None:
        super().__init__()
        stem_stride = 1 if is_small_input else 2
        layers: list[nn.Module] = [_conv_bn_relu6(3, _N_STEM, 3, stem_stride, groups=1)]
        n_in = _N_STEM
        for stage, (expansion, n_out, n_blocks, stage_stride) in enumerate(_STAGES):
            stride = 1 if is_small_input and stage == 1 else stage_stride
            for block in range(n_blocks):
                layers.append(InvertedResidual(n_in, n_out, stride if block == 0 else 1, expansion))
                n_in = n_out
        layers.append(_conv_bn_relu6(n_in, _N_HEAD, kernel=1, stride=1, groups=1))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            OrderedDict([("0", nn.Dropout(0.2)), ("1", nn.Linear(_N_HEAD, num_classes))])
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, 3, height, width) to logits (batch, num_classes)."""
        return cast(Tensor, self.classifier(self.avgpool(self.features(x)).flatten(1)))


def _conv_bn_relu6(n_in: int, n_out: int, kernel: int, stride: int, groups: int) -> nn.Sequential:
    convolution = nn.Conv2d(
        n_in, n_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU6())
