"""Which classes a schedule may name, and where each is built.

A module that brings classes lists its :class:`ClassSpec` objects under ``CLASSES``. It is
imported when a schedule names one of its classes, so that a template or a plain schedule
does not pay for what it does not use.

Depends on: arguments. The modules it names are imported on demand.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from stillhouse_compression.schedule.arguments import ClassSpec

_PRUNERS = "stillhouse_compression.schedule.pruners"

PROVIDERS: Mapping[str, Mapping[str, str]] = {
    "pruners": {
        "SparsityLevelParameterPruner": f"{_PRUNERS}.level",
        "AutomatedGradualPruner": f"{_PRUNERS}.level",
        "MagnitudeParameterPruner": f"{_PRUNERS}.threshold",
        "SensitivityPruner": f"{_PRUNERS}.threshold",
        "SplicingPruner": f"{_PRUNERS}.splicing",
        "BaiduRNNPruner": f"{_PRUNERS}.baidu",
        "StructureParameterPruner": f"{_PRUNERS}.threshold_structures",
        "RandomLevelStructureParameterPruner": f"{_PRUNERS}.filters",
        **{
            name + suffix: f"{_PRUNERS}.filters"
            for name in (
                "ActivationAPoZRankedFilterPruner",
                "ActivationMeanRankedFilterPruner",
                "GradientRankedFilterPruner",
                "RandomRankedFilterPruner",
                "BernoulliFilterPruner",
            )
            for suffix in ("", "_AGP")
        },
        "FMReconstructionChannelPruner": f"{_PRUNERS}.reconstruction",
        "L1RankedStructureParameterPruner": f"{_PRUNERS}.structures",
        "L2RankedStructureParameterPruner": f"{_PRUNERS}.structures",
        "L1RankedStructureParameterPruner_AGP": f"{_PRUNERS}.structures",
        "L2RankedStructureParameterPruner_AGP": f"{_PRUNERS}.structures",
    },
    "regularizers": {
        "L1Regularizer": "stillhouse_compression.schedule.regularizers.l1",
        "GroupLassoRegularizer": "stillhouse_compression.schedule.regularizers.group_lasso",
        "GroupVarianceRegularizer": "stillhouse_compression.schedule.regularizers.group_variance",
        "DropFilterRegularizer": "stillhouse_compression.schedule.regularizers.drop_filter",
    },
    "lr_schedulers": {
        name: "stillhouse_compression.schedule.lr_schedulers"
        for name in (
            "ConstantLR",
            "CosineAnnealingLR",
            "CosineAnnealingWarmRestarts",
            "CyclicLR",
            "ExponentialLR",
            "LinearLR",
            "MultiStepLR",
            "MultiStepMultiGammaLR",
            "OneCycleLR",
            "PolynomialLR",
            "ReduceLROnPlateau",
            "StepLR",
        )
    },
    # The thinning room owns these three.
    "extensions": {
        name: "stillhouse_compression.thinning.extension"
        for name in ("FilterRemover", "ChannelRemover", "StructureRemover")
    },
}
"""Section -> class name -> module whose ``CLASSES`` has its specification."""

REFUSED: Mapping[str, str] = {
    "LambdaLR": "it needs a Python function, which YAML cannot express",
    "MultiplicativeLR": "it needs a Python function, which YAML cannot express",
    "SequentialLR": "it needs other scheduler objects; give each its own policy and epochs",
    "ChainedScheduler": "it needs other scheduler objects; give each its own policy and epochs",
}
"""Classes of the original's namespace that YAML cannot build, and why."""


def names(section: str) -> list[str]:
    """The class names that ``section`` may use."""
    return list(PROVIDERS.get(section, {}))


def section_of(class_name: str) -> str | None:
    """The section that ``class_name`` belongs to, or None when nobody knows it."""
    for section, classes in PROVIDERS.items():
        if class_name in classes:
            return section
    return None


def find(section: str, class_name: str) -> ClassSpec:
    """The specification of a class.

    Raises:
        KeyError: ``section`` has no such class.
    """
    module = importlib.import_module(PROVIDERS[section][class_name])
    specs: tuple[ClassSpec, ...] = module.CLASSES
    for spec in specs:
        if spec.name == class_name and spec.section == section:
            return spec
    raise KeyError(f"{module.__name__}.CLASSES has no {class_name}")
