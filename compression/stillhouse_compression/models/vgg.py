"""VGG-16 for 32x32 images, with torchvision's layer names.

Depends on: torch.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from stillhouse_compression.models.initial import initialise

# Configuration D of the paper's table 1: convolutions a stage; a 2x2 pooling ends each.
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class CifarVgg16(nn.Module):
    """Thirteen 3x3 convolutions in five stages and one linear classifier.

    Args:
        num_classes: Outputs of ``classifier``.
        has_batchnorm: Whether each convolution is followed by BatchNorm. It shifts the numbers
            in the names: ``features.3`` is the second convolution with it, ``features.2`` without.

    Source: Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image
    Recognition", table 1, D; the three linear layers are one, as in Distiller.
    """

    def __init__(self, num_classes: int, has_batchnorm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = 3
        for stage in _STAGES:
            for n_out in stage:
                layers.append(nn.Conv2d(n_in, n_out, 3, padding=1))
                if has_batchnorm:
                    layers.append(nn.BatchNorm2d(n_out))
                layers.append(nn.ReLU())
                n_in = n_out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(n_in, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, 3, 32, 32) to logits (batch, num_classes)."""
        return cast(Tensor, self.classifier(self.features(x).flatten(1)))
