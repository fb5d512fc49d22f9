"""The public Python client of a Stillhouse server.

Depends on: httpx.
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
from stillhouse.shapes import AskedTrial, Baseline, Importance, Study, Trial, TrialDetail
from stillhouse.signature import is_genuine

__all__ = [
    "ArtifactCorrupt",
    "AskedTrial",
    "Baseline",
    "Client",
    "ConnectionFailed",
    "Experiment",
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
