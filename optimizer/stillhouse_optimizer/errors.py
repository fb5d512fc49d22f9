"""What can go wrong in the optimizer.

Depends on: nothing.

OptimizerError
├── ProblemError      the problem, a config or an observation is not well formed
└── SpaceExhausted    every config of a finite space was tried
"""

from __future__ import annotations


class OptimizerError(Exception):
    """Root of every error this package raises on purpose."""


class ProblemError(OptimizerError):
    """A field of the problem is missing, unknown or makes no sense; the message starts with it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class SpaceExhausted(OptimizerError):
    """Every config of a finite space was tried or is running; there is nothing left to propose."""

    def __init__(self, n_configs: int) -> None:
        super().__init__(
            f"all {n_configs} configs of this space were tried or are running; "
            "widen a range, add a parameter or end the study"
        )
        self.n_configs = n_configs
