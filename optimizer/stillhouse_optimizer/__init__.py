"""Which config to try next, which trial is best, and which parameters mattered.

Depends on: smac, ConfigSpace, scikit-learn, scipy, numpy. Knows nothing of networks, databases
or HTTP: plain data in, plain data out.

Names load on first use, so that who only reads a problem does not import SMAC.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillhouse_optimizer.bounds import PairedCounts, share_lower_bound
    from stillhouse_optimizer.errors import OptimizerError, ProblemError, SpaceExhausted
    from stillhouse_optimizer.explanation import Explanation, explain
    from stillhouse_optimizer.feasibility import is_certain, is_feasible
    from stillhouse_optimizer.front import Front, front
    from stillhouse_optimizer.importance import Importance, importance
    from stillhouse_optimizer.incumbent import Incumbent, incumbent
    from stillhouse_optimizer.inputs import per_config
    from stillhouse_optimizer.propose import propose
    from stillhouse_optimizer.sources import Source
    from stillhouse_optimizer.spec import (
        Config,
        Constraint,
        Observation,
        Parameter,
        Problem,
        Proposal,
        is_maximised,
    )
    from stillhouse_optimizer.stopping import Budget, stop_reason

__all__ = [
    "Budget",
    "Config",
    "Constraint",
    "Explanation",
    "Front",
    "Importance",
    "Incumbent",
    "Observation",
    "OptimizerError",
    "PairedCounts",
    "Parameter",
    "Problem",
    "ProblemError",
    "Proposal",
    "Source",
    "SpaceExhausted",
    "explain",
    "front",
    "importance",
    "incumbent",
    "is_certain",
    "is_feasible",
    "is_maximised",
    "per_config",
    "propose",
    "share_lower_bound",
    "stop_reason",
]

_HOMES = {
    "Budget": "stopping",
    "Config": "spec",
    "Constraint": "spec",
    "Explanation": "explanation",
    "Front": "front",
    "Importance": "importance",
    "Incumbent": "incumbent",
    "Observation": "spec",
    "OptimizerError": "errors",
    "PairedCounts": "bounds",
    "Parameter": "spec",
    "Problem": "spec",
    "ProblemError": "errors",
    "Proposal": "spec",
    "Source": "sources",
    "SpaceExhausted": "errors",
    "explain": "explanation",
    "front": "front",
    "importance": "importance",
    "incumbent": "incumbent",
    "is_certain": "feasibility",
    "is_feasible": "feasibility",
    "is_maximised": "spec",
    "per_config": "inputs",
    "propose": "propose",
    "share_lower_bound": "bounds",
    "stop_reason": "stopping",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


class _Package(ModuleType):
    """Four functions are named like their modules; the functions are what the package shows."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
