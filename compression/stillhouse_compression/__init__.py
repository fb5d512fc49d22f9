"""Compression: schedules in Distiller's language, thinning, training, export.

Names load on first use, so that importing one room does not load the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillhouse_compression.errors import (
        CompressionError,
        Problem,
        ScheduleError,
        TrainingDiverged,
    )
    from stillhouse_compression.greedy import greedy_pruner
    from stillhouse_compression.schedule.config import dict_config, file_config
    from stillhouse_compression.schedule.distillation import (
        DistillationLossWeights,
        KnowledgeDistillationPolicy,
    )
    from stillhouse_compression.schedule.lr_schedulers import (
        LRPolicy,
        MultiStepMultiGammaLR,
        PolynomialLR,
    )
    from stillhouse_compression.schedule.policies import (
        Extension,
        ExtensionPolicy,
        PruningPolicy,
        RegularizationPolicy,
    )
    from stillhouse_compression.schedule.policy import LossComponent, PolicyLoss
    from stillhouse_compression.schedule.reading import check_schedule
    from stillhouse_compression.schedule.scheduler import CompressionScheduler
    from stillhouse_compression.schedule.yaml_text import load_yaml
    from stillhouse_compression.sensitivity import SensitivityAnalysis, sensitivity_analysis
    from stillhouse_compression.sparsity_metrics import (
        SparsityTable,
        density,
        model_sparsity,
        sparsity,
        sparsity_2D,
        sparsity_3D,
        sparsity_blocks,
        sparsity_ch,
        sparsity_cols,
        sparsity_rows,
        sparsity_table,
    )

__all__ = [
    "CompressionError",
    "CompressionScheduler",
    "DistillationLossWeights",
    "Extension",
    "ExtensionPolicy",
    "KnowledgeDistillationPolicy",
    "LRPolicy",
    "LossComponent",
    "MultiStepMultiGammaLR",
    "PolicyLoss",
    "PolynomialLR",
    "Problem",
    "PruningPolicy",
    "RegularizationPolicy",
    "ScheduleError",
    "SensitivityAnalysis",
    "SparsityTable",
    "TrainingDiverged",
    "check_schedule",
    "density",
    "dict_config",
    "file_config",
    "greedy_pruner",
    "load_yaml",
    "model_sparsity",
    "sensitivity_analysis",
    "sparsity",
    "sparsity_2D",
    "sparsity_3D",
    "sparsity_blocks",
    "sparsity_ch",
    "sparsity_cols",
    "sparsity_rows",
    "sparsity_table",
]

_HOMES = {
    "dict_config": "schedule.config",
    "file_config": "schedule.config",
    "DistillationLossWeights": "schedule.distillation",
    "KnowledgeDistillationPolicy": "schedule.distillation",
    "CompressionError": "errors",
    "Problem": "errors",
    "ScheduleError": "errors",
    "TrainingDiverged": "errors",
    "greedy_pruner": "greedy",
    "LRPolicy": "schedule.lr_schedulers",
    "MultiStepMultiGammaLR": "schedule.lr_schedulers",
    "PolynomialLR": "schedule.lr_schedulers",
    "Extension": "schedule.policies",
    "ExtensionPolicy": "schedule.policies",
    "LossComponent": "schedule.policy",
    "PolicyLoss": "schedule.policy",
    "PruningPolicy": "schedule.policies",
    "RegularizationPolicy": "schedule.policies",
    "check_schedule": "schedule.reading",
    "CompressionScheduler": "schedule.scheduler",
    "SensitivityAnalysis": "sensitivity",
    "sensitivity_analysis": "sensitivity",
    "SparsityTable": "sparsity_metrics",
    "density": "sparsity_metrics",
    "model_sparsity": "sparsity_metrics",
    "sparsity_2D": "sparsity_metrics",
    "sparsity_3D": "sparsity_metrics",
    "sparsity_blocks": "sparsity_metrics",
    "sparsity_ch": "sparsity_metrics",
    "sparsity_cols": "sparsity_metrics",
    "sparsity_rows": "sparsity_metrics",
    "sparsity_table": "sparsity_metrics",
    "load_yaml": "schedule.yaml_text",
    "sparsity": "sparsity_metrics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        from stillhouse_compression.schedule.classes import class_of

        # A pruner or regulariser by its original name.
        made = None if name.startswith("_") else class_of(name)
        if made is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return made
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
