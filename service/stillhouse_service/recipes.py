"""Named recipes of `stillhouse train`.

Depends on: the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What a recipe does not say keeps the default of docs/compression.md: SGD, momentum 0.9, cosine;
# on CUDA mixed precision and channels last.
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "standard": {},
    # He et al. 2016, section 4.2: batch 128, 0.1, down to a tenth at half and three quarters of
    # about 164 epochs; their two drops are at equal steps here.
    "cifar-step": {
        "epochs": 160,
        "lr": 0.1,
        "batch_size": 128,
        "weight_decay": 1e-4,
        "nesterov": False,
        "lr_schedule": "step",
        "lr_step_epochs": 60,
        "warmup_epochs": 0,
    },
    "cifar-cosine": {
        "epochs": 200,
        "lr": 0.1,
        "batch_size": 128,
        "warmup_epochs": 5,
        "label_smoothing": 0.1,
    },
    # Goyal et al. 2017, section 5.1, with a cosine in place of steps.
    "imagenet": {
        "epochs": 90,
        "lr": 0.1,
        "batch_size": 256,
        "weight_decay": 1e-4,
        "warmup_epochs": 5,
        "label_smoothing": 0.1,
    },
}
