"""Which config to try next, which trial is best, and which parameters mattered.

Depends on: smac, ConfigSpace, scikit-learn, scipy, numpy. Knows nothing of networks, databases
or HTTP: plain data in, plain data out.
"""

from stillhouse_optimizer.errors import OptimizerError, ProblemError, SpaceExhausted
from stillhouse_optimizer.feasibility import is_feasible
from stillhouse_optimizer.importance import Importance, importance, importances
from stillhouse_optimizer.inputs import per_config
from stillhouse_optimizer.propose import propose
from stillhouse_optimizer.spec import (
    Config,
    Constraint,
    Observation,
    Parameter,
    Problem,
    Proposal,
    is_maximised,
)

__all__ = [
    "Config",
    "Constraint",
    "Importance",
    "Observation",
    "OptimizerError",
    "Parameter",
    "Problem",
    "ProblemError",
    "Proposal",
    "SpaceExhausted",
    "importance",
    "importances",
    "is_feasible",
    "is_maximised",
    "per_config",
    "propose",
]
