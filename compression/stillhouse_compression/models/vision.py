"""ImageNet's networks with their published weights: `torchvision:<name>`, where it is installed.

Depends on: torchvision (extra `vision`), which is imported when such a network is asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from stillhouse_compression.errors import CompressionError, nearest
from stillhouse_compression.models.info import ModelInfo

PREFIX = "torchvision:"
_N_CLASSES = 1000


def vision_network(name: str) -> ModelInfo:
    """Look a network of torchvision up.

    Args:
        name: ``torchvision:`` and a name of `torchvision.models.list_models`.

    Raises:
        CompressionError: torchvision is not installed, or has no such classifier.
    """
    library = _library(name)
    short = name.removeprefix(PREFIX)
    known = library.list_models(module=library)
    if short not in known:
        raise CompressionError(
            f"torchvision has no network {short!r}{nearest(short, known)}; "
            "`torchvision.models.list_models()` has its names"
        )
    weights = library.get_model_weights(short).DEFAULT
    side = int(weights.transforms().crop_size[0])

    def make(n_classes: int) -> nn.Module:
        model: nn.Module = library.get_model(short, weights=None, num_classes=n_classes)
        return model

    def pretrain(model: nn.Module) -> None:
        # torchvision's own call would unpickle what it downloads.
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        own = model.state_dict()
        # With other classes than ImageNet's, the last layer starts fresh.
        fitting = {key: value for key, value in state.items() if own[key].shape == value.shape}
        model.load_state_dict(own | fitting)

    return ModelInfo(
        name=name,
        description=f"torchvision's {short} with its published ImageNet weights",
        input_shape=(3, side, side),
        n_classes_default=_N_CLASSES,
        make=make,
        pretrain=pretrain,
    )


def _library(name: str) -> Any:
    try:
        return importlib.import_module("torchvision.models")
    except ImportError as error:
        raise CompressionError(
            f"network {name!r} needs torchvision, which is not installed: run `pip install "
            "'stillhouse[vision]'` on the server and on its compute workers"
        ) from error
