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
from stillhouse.experiments import Experiment
from stillhouse.front import Front
from stillhouse.importance import Importance
from stillhouse.shapes import AskedTrial, Baseline, Trial, TrialDetail
from stillhouse.signature import is_genuine
from stillhouse.study import Study

__all__ = [
    "ArtifactCorrupt",
    "AskedTrial",
    "Baseline",
    "Client",
    "ConnectionFailed",
    "Experiment",
    "Front",
    "Importance",
    "Problem",
    "ProblemError",
    "StillhouseError",
    "Study",
    "Trial",
    "TrialDetail",
    "UnexpectedAnswer",
    "WaitTimeout",
    "is_genuine",
]
