"""Named networks: ours, with the layer names of Distiller's schedules, and other packages'.

Depends on: torch. Knows nothing of schedules, data or training.
"""

from __future__ import annotations

from torch import nn

from stillhouse_compression.errors import CompressionError, nearest
from stillhouse_compression.models.info import ModelInfo
from stillhouse_compression.models.installed import installed_networks
from stillhouse_compression.models.mobilenet import MobileNetV2
from stillhouse_compression.models.plain import CifarPlainNet
from stillhouse_compression.models.resnet import CifarResNet
from stillhouse_compression.models.simplenet import CifarSimpleNet
from stillhouse_compression.models.vgg import CifarVgg16
from stillhouse_compression.models.vision import PREFIX, vision_network

__all__ = ["ModelInfo", "available", "build", "model_info"]

_SMALL = (3, 32, 32)
_LARGE = (3, 224, 224)


def _resnet(n_blocks: int) -> ModelInfo:
    depth = 6 * n_blocks + 2
    return ModelInfo(
        name=f"resnet{depth}_cifar",
        description=f"Residual network of {depth} layers for 32x32 images",
        input_shape=_SMALL,
        n_classes_default=10,
        make=lambda n_classes: CifarResNet(n_blocks, n_classes),
    )


_MODELS: dict[str, ModelInfo] = {
    info.name: info
    for info in (
        _resnet(3),
        _resnet(5),
        _resnet(7),
        _resnet(9),
        ModelInfo(
            name="plain20_cifar",
            description="ResNet-20 without its shortcuts, for 32x32 images",
            input_shape=_SMALL,
            n_classes_default=10,
            make=lambda n_classes: CifarPlainNet(3, n_classes),
        ),
        ModelInfo(
            name="vgg16_cifar",
            description="VGG-16 with one linear layer and no BatchNorm, for 32x32 images",
            input_shape=_SMALL,
            n_classes_default=10,
            make=lambda n_classes: CifarVgg16(n_classes, has_batchnorm=False),
        ),
        ModelInfo(
            name="vgg16_bn_cifar",
            description="VGG-16 with BatchNorm and one linear layer, for 32x32 images",
            input_shape=_SMALL,
            n_classes_default=10,
            make=lambda n_classes: CifarVgg16(n_classes, has_batchnorm=True),
        ),
        ModelInfo(
            name="simplenet_cifar",
            description="Small LeNet-like network for 32x32 images",
            input_shape=_SMALL,
            n_classes_default=10,
            make=CifarSimpleNet,
        ),
        ModelInfo(
            name="mobilenet_v2",
            description="MobileNetV2 of width 1.0 for 224x224 images",
            input_shape=_LARGE,
            n_classes_default=1000,
            make=lambda n_classes: MobileNetV2(n_classes, is_small_input=False),
        ),
        ModelInfo(
            name="mobilenet_v2_cifar",
            description="MobileNetV2 of width 1.0 with two strides fewer, for 32x32 images",
            input_shape=_SMALL,
            n_classes_default=10,
            make=lambda n_classes: MobileNetV2(n_classes, is_small_input=True),
        ),
    )
}


_OURS = frozenset(_MODELS)


def available() -> tuple[ModelInfo, ...]:
    """List every network that can be built, in a fixed order: ours, then other packages'."""
    return (*_MODELS.values(), *installed_networks(_OURS).networks.values())


def model_info(name: str) -> ModelInfo:
    """Look one network up.

    Raises:
        CompressionError: There is no such network; the message names the nearest. Or its package
            does not work.
    """
    if name in _MODELS:
        return _MODELS[name]
    if name.startswith(PREFIX):
        return vision_network(name)
    installed = installed_networks(_OURS)
    if name in installed.broken:
        raise CompressionError(installed.broken[name])
    known = {info.name: info for info in available()}
    if name not in known:
        raise CompressionError(
            f"no network {name!r}{nearest(name, known)}; there are: {', '.join(known)}, "
            "torchvision:<name>"
        )
    return known[name]


def build(name: str, num_classes: int | None = None) -> nn.Module:
    """Make a network with fresh weights, drawn from torch's global generator.

    Args:
        name: One of `available`'s names.
        num_classes: Outputs of the last layer; None takes the network's default.

    Returns:
        The network, in training mode, on the CPU, float32.

    Raises:
        CompressionError: Unknown name, fewer than 2 classes, or another package's network that
            cannot be made.
    """
    info = model_info(name)
    n_classes = info.n_classes_default if num_classes is None else num_classes
    if n_classes < 2:
        raise CompressionError(f"a classifier needs at least 2 classes, got {n_classes}")
    if name in _OURS:
        return info.make(n_classes)
    try:
        network = info.make(n_classes)
    except Exception as error:  # it is their code: whatever it raises is theirs to mend
        reason = f"{type(error).__name__}: {error}"
        raise CompressionError(f"network {name!r} cannot be made: {reason}") from error
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise CompressionError(f"network {name!r}: make gave a {kind}, a torch Module was wanted")
    return network
