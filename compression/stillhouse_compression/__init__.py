"""Compression: schedules in Distiller's language, thinning, training, export.

Names load on first use, so that importing one room does not load the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillhouse_compression.config import dict_config, file_config
    from stillhouse_compression.errors import (
        CompressionError,
        Problem,
        ScheduleError,
        TrainingDiverged,
    )
    from stillhouse_compression.policies import (
        Extension,
        LossComponent,
        PolicyLoss,
        PruningPolicy,
        RegularizationPolicy,
    )
    from stillhouse_compression.reading import check_schedule
    from stillhouse_compression.scheduler import CompressionScheduler
    from stillhouse_compression.yaml_text import load_yaml

__all__ = [
    "CompressionError",
    "CompressionScheduler",
    "Extension",
    "LossComponent",
    "PolicyLoss",
    "Problem",
    "PruningPolicy",
    "RegularizationPolicy",
    "ScheduleError",
    "TrainingDiverged",
    "check_schedule",
    "dict_config",
    "file_config",
    "load_yaml",
]

_HOMES = {
    "CompressionError": "errors",
    "CompressionScheduler": "scheduler",
    "Extension": "policies",
    "LossComponent": "policies",
    "PolicyLoss": "policies",
    "Problem": "errors",
    "PruningPolicy": "policies",
    "RegularizationPolicy": "policies",
    "ScheduleError": "errors",
    "TrainingDiverged": "errors",
    "check_schedule": "reading",
    "dict_config": "config",
    "file_config": "config",
    "load_yaml": "yaml_text",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
