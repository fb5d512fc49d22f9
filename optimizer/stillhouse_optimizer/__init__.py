"""Which config to try next, which trial is best, and which parameters mattered.

Depends on: smac, ConfigSpace, scikit-learn, scipy, numpy. Knows nothing of networks, databases
or HTTP: plain data in, plain data out.
"""

from stillhouse_optimizer.bounds import PairedCounts, share_lower_bound
from stillhouse_optimizer.errors import OptimizerError, ProblemError, SpaceExhausted
from stillhouse_optimizer.explanation import Explanation, explain
from stillhouse_optimizer.feasibility import is_certain, is_feasible
from stillhouse_optimizer.importance import Importance, importance
from stillhouse_optimizer.incumbent import Incumbent, incumbent
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
from stillhouse_optimizer.stopping import Budget, stop_reason

__all__ = [
    "Budget",
    "Config",
    "Constraint",
    "Explanation",
    "Importance",
    "Incumbent",
    "Observation",
    "OptimizerError",
    "PairedCounts",
    "Parameter",
    "Problem",
    "ProblemError",
    "Proposal",
    "SpaceExhausted",
    "explain",
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
