"""The public Python client of a Stillhouse server.

Depends on: httpx; pandas and plotly where data frames and figures are asked for.
"""

from stillhouse.client import Client
from stillhouse.errors import (
    ArtifactCorrupt,
    ConnectionFailed,
    Problem,
    ProblemError,
    StillhouseError,
    UnexpectedAnswer,
    WaitTimeout,
)
from stillhouse.importance import Importance
from stillhouse.shapes import Baseline, Trial, TrialDetail
from stillhouse.study import Study

__all__ = [
    "ArtifactCorrupt",
    "Baseline",
    "Client",
    "ConnectionFailed",
    "Importance",
    "Problem",
    "ProblemError",
    "StillhouseError",
    "Study",
    "Trial",
    "TrialDetail",
    "UnexpectedAnswer",
    "WaitTimeout",
]
