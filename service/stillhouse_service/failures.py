"""What a failed attempt means: which classes there are, which are tried again, how a trial ends.

Depends on: the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stillhouse_service.states import TrialState


@dataclass(frozen=True)
class Failure:
    """Why an attempt or a stage failed.

    Attributes:
        stage: What was being done: `compress`, `compile`, `timing`, ...
        failure_class: Of `DEVICE_POLICIES`, `COMPUTE_POLICIES` or `OUTSIDE_POLICIES`; `class` in
            JSON.
        reason: One or two sentences for the user.
        layers: Torch names of the layers to blame, if known.
        log: The last lines of what the stage said, if it said any.
    """

    stage: str
    failure_class: str
    reason: str
    layers: tuple[str, ...] = ()
    log: Sequence[str] = ()

    def to_json(self) -> dict[str, object]:
        """As stored and shown."""
        value: dict[str, object] = {
            "stage": self.stage,
            "class": self.failure_class,
            "reason": self.reason,
        }
        more = {"layers": list(self.layers), "log": list(self.log)}
        return value | {name: lines for name, lines in more.items() if lines}


@dataclass(frozen=True)
class Policy:
    """What follows a failure.

    Attributes:
        is_retried: The stage is handed out again, at most `max_attempts` times in all.
        trial_state: How the trial ends when it is not.
        is_study_rejected: In the check before a study: the device cannot do what the study asks.
        advice: What a user does about it when it happens again and again.
    """

    is_retried: bool
    trial_state: TrialState = TrialState.FAILED
    is_study_rejected: bool = False
    advice: str = ""


# Compression is seeded: a stage fails the same way again, unless its machine was at fault.
COMPUTE_POLICIES: Mapping[str, Policy] = {
    # what the user wrote, and only a trial could find
    "schedule": Policy(False, advice="change the template where the message says"),
    "settings": Policy(False, advice="change the training section where the message says"),
    "engine": Policy(False, advice="install the engine that the study names where it computes"),
    "compression": Policy(False, advice="do what the message says"),
    "thinning": Policy(False, advice="name layers that can be cut, or prune elements instead"),
    "export": Policy(False, advice="look at the network's own code: it cannot be exported"),
    "mismatch": Policy(False, advice="the exported graph is not the network: report a bug"),
    "diverged": Policy(False, advice="lower the learning rate's range, or prune more slowly"),
    "out-of-memory": Policy(False, advice="lower the batch size, or compute on a larger machine"),
    "internal": Policy(False, advice="look at the server's log; this may be a bug of Stillhouse"),
    "too-large": Policy(False, advice="raise MAX_ARTIFACT_BYTES, or take a smaller network"),
    "no-gpu": Policy(True, advice="install torch with CUDA on the worker, or have it offer no GPU"),
    "store": Policy(True, advice="look at the artifact store's disk: is it full or gone?"),
    "worker-lost": Policy(
        True, advice="look at the compute workers: memory, power, network; then resume"
    ),
}

DEVICE_POLICIES: Mapping[str, Policy] = {
    "unsupported": Policy(
        False,
        TrialState.UNSUPPORTED,
        is_study_rejected=True,
        advice="keep the layers it names out of the template, or take another device",
    ),
    "out-of-memory": Policy(
        False,
        TrialState.UNSUPPORTED,
        is_study_rejected=True,
        advice="prune more, or take a device with more memory",
    ),
    "mismatch": Policy(
        False,
        is_study_rejected=True,
        advice="the device computes other outputs than torch: look at its precision and driver",
    ),
    "gate": Policy(True, advice="make the device's host quiet: other programs disturb the timing"),
    "device-fault": Policy(True, advice="look at the device: power, heat, cable, driver"),
    "bad-artifact": Policy(True, advice="look at the network and disk of the device's host"),
    "timeout": Policy(True, advice="raise timing.job_limit_s, or look why the device is slow"),
    "internal": Policy(True, advice="look at the device host's log; this may be a bug"),
    "worker-lost": Policy(True, advice="look at the device's host: is it on, is its worker up?"),
}

# What somebody tells of a trial that was run elsewhere.
OUTSIDE_POLICIES: Mapping[str, Policy] = {
    "failed": Policy(False, advice="look at what runs the trials"),
    "unsupported": Policy(
        False, TrialState.UNSUPPORTED, advice="take what cannot run out of the space"
    ),
    "diverged": Policy(False, advice="lower the learning rate's range"),
    "out-of-memory": Policy(False, TrialState.UNSUPPORTED, advice="take a larger machine"),
    "internal": Policy(False, advice="look at what runs the trials"),
    "worker-lost": Policy(True, advice="ask for longer leases, or extend them while a trial runs"),
}

_LANES = {"compute": COMPUTE_POLICIES, "device": DEVICE_POLICIES, "outside": OUTSIDE_POLICIES}


def policy_of(lane: str, failure_class: str) -> Policy:
    """Look up what follows; a class this version does not know is like `internal`."""
    policies = _LANES[lane]
    return policies.get(failure_class, policies["internal"])
