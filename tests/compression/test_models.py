"""Named networks: layer names, shapes and sizes of the papers."""

from itertools import pairwise

import pytest
import torch

from stillhouse_compression import models
from stillhouse_compression.errors import CompressionError
from stillhouse_compression.layers import count_params, total_macs


def _batchnorm_and_conv(n_in: int, n_out: int, kernel: int) -> int:
    return n_in * n_out * kernel * kernel + 2 * n_out


def _residual_params(n_blocks: int, has_projection: bool) -> int:
    """Worked out from He et al. 2016, section 4.2: 3x3 layers of 16, 32 and 64 filters."""
    total = _batchnorm_and_conv(3, 16, 3) + 64 * 10 + 10
    n_in = 16
    for width in (16, 32, 64):
        for _ in range(n_blocks):
            total += _batchnorm_and_conv(n_in, width, 3) + _batchnorm_and_conv(width, width, 3)
            if has_projection and n_in != width:
                total += _batchnorm_and_conv(n_in, width, 1)
            n_in = width
    return total


@pytest.mark.parametrize(
    ("name", "n_blocks", "millions"),
    [
        ("resnet20_cifar", 3, 0.27),
        ("resnet32_cifar", 5, 0.46),
        ("resnet44_cifar", 7, 0.66),
        ("resnet56_cifar", 9, 0.85),
    ],
)
def test_residual_networks_have_the_papers_size(name: str, n_blocks: int, millions: float) -> None:
    n_params = count_params(models.build(name))
    assert n_params == _residual_params(n_blocks, has_projection=True)
    # Table 6 of the paper, whose shortcuts have no weights: two projections more are 2,752 more.
    assert n_params / 1e6 == pytest.approx(millions, abs=0.01)


def test_plain20_is_resnet20_without_projections() -> None:
    assert count_params(models.build("plain20_cifar")) == _residual_params(3, False)


def test_resnet20_needs_41_million_macs() -> None:
    """The papers count 0.041 G; worked out: stem, 18 layers of 3x3, two projections, fc."""
    stem = 32 * 32 * 16 * 3 * 9
    stage1 = 6 * 32 * 32 * 16 * 16 * 9
    stage2 = 16 * 16 * 32 * (16 * 9 + 5 * 32 * 9 + 16)
    stage3 = 8 * 8 * 64 * (32 * 9 + 5 * 64 * 9 + 32)
    expected = stem + stage1 + stage2 + stage3 + 640
    assert total_macs(models.build("resnet20_cifar"), (3, 32, 32)) == expected
    assert expected / 1e6 == pytest.approx(41, abs=0.5)


def test_vgg16_has_its_known_size() -> None:
    """Thirteen 3x3 layers with biases and one linear layer: 14.7 M, 313 M MACs at 32x32."""
    model = models.build("vgg16_cifar")
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convolutions = sum(9 * a * b + b for a, b in pairwise(widths))
    assert count_params(model) == convolutions + 512 * 10 + 10
    assert total_macs(model, (3, 32, 32)) / 1e6 == pytest.approx(313.2, abs=0.1)


def test_mobilenet_v2_has_the_papers_size() -> None:
    """Sandler et al. 2018, table 4: 3.4 M parameters, 300 M MACs."""
    model = models.build("mobilenet_v2")
    assert count_params(model) == 3_504_872  # torchvision's count
    assert total_macs(model, (3, 224, 224)) / 1e6 == pytest.approx(300, abs=1.5)


def test_simplenet_has_lenets_size() -> None:
    convolutions = 6 * (75 + 1) + 16 * (150 + 1)
    linears = 120 * 401 + 84 * 121 + 10 * 85
    assert count_params(models.build("simplenet_cifar")) == convolutions + linears


@pytest.mark.parametrize("info", models.available(), ids=lambda info: info.name)
def test_every_network_maps_images_to_logits(info: models.ModelInfo) -> None:
    model = models.build(info.name, num_classes=7).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, *info.input_shape)).shape == (1, 7)


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        (
            "resnet20_cifar",
            [
                *("conv1", "bn1", "layer1.0.conv1", "layer1.0.relu1", "layer2.0.conv1", "fc"),
                *("layer2.0.downsample.0", "layer2.0.downsample.1", "layer3.2.relu2"),
            ],
        ),
        ("plain20_cifar", ["conv1", "layer1.0.conv1", "layer3.2.conv2", "layer3.2.relu2", "fc"]),
        ("vgg16_cifar", ["features.0", "features.28", "classifier"]),
        ("simplenet_cifar", ["conv1", "relu_conv1", "pool1", "conv2", "fc1", "fc2", "fc3"]),
        ("mobilenet_v2", ["features.0.0", "features.2.conv.1.0", "features.18.0", "classifier.1"]),
    ],
)
def test_layers_have_the_names_that_schedules_use(model: str, layers: list[str]) -> None:
    names = {name for name, _ in models.build(model).named_modules()}
    assert [layer for layer in layers if layer not in names] == []


def test_an_unknown_network_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(CompressionError, match="did you mean 'resnet20_cifar'"):
        models.build("resnet20_cifr")


def test_a_classifier_of_one_class_is_refused() -> None:
    with pytest.raises(CompressionError, match="at least 2 classes, got 1"):
        models.build("simplenet_cifar", num_classes=1)
