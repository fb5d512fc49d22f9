"""What a failed attempt means: which classes there are, which are tried again, how a trial ends.

Depends on: the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stillhouse_service.states import TrialState


@dataclass(frozen=True)
class Failure:
    """Why an attempt or a stage failed.

    Attributes:
        stage: What was being done: `compress`, `compile`, `timing`, ...
        failure_class: Of `DEVICE_POLICIES`, `COMPUTE_POLICIES` or compression's; `class` in JSON.
        reason: One or two sentences for the user.
        layers: Torch names of the layers to blame, if known.
    """

    stage: str
    failure_class: str
    reason: str
    layers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """As stored and shown."""
        value: dict[str, object] = {
            "stage": self.stage,
            "class": self.failure_class,
            "reason": self.reason,
        }
        return value | ({"layers": list(self.layers)} if self.layers else {})


@dataclass(frozen=True)
class Policy:
    """What follows a failure.

    Attributes:
        is_retried: The stage is handed out again, at most `max_attempts` times in all.
        trial_state: How the trial ends when it is not.
        is_study_rejected: In the check before a study: the device cannot do what the study asks.
    """

    is_retried: bool
    trial_state: TrialState = TrialState.FAILED
    is_study_rejected: bool = False


# Compression is seeded: a stage fails the same way again, unless its machine was at fault. Its own
# classes (`failure_class` of each CompressionError) are therefore as final as `internal`.
COMPUTE_POLICIES: Mapping[str, Policy] = {
    "out-of-memory": Policy(is_retried=False),
    "internal": Policy(is_retried=False),
    "store": Policy(is_retried=True),
    "worker-lost": Policy(is_retried=True),
}

DEVICE_POLICIES: Mapping[str, Policy] = {
    "unsupported": Policy(False, TrialState.UNSUPPORTED, is_study_rejected=True),
    "out-of-memory": Policy(False, TrialState.UNSUPPORTED, is_study_rejected=True),
    "mismatch": Policy(is_retried=False, is_study_rejected=True),
    "gate": Policy(is_retried=True),
    "device-fault": Policy(is_retried=True),
    "bad-artifact": Policy(is_retried=True),
    "timeout": Policy(is_retried=True),
    "internal": Policy(is_retried=True),
    "worker-lost": Policy(is_retried=True),
}

_LANES = {"compute": COMPUTE_POLICIES, "device": DEVICE_POLICIES}


def policy_of(lane: str, failure_class: str) -> Policy:
    """Look up what follows; a class this version does not know is like `internal`."""
    policies = _LANES[lane]
    return policies.get(failure_class, policies["internal"])
