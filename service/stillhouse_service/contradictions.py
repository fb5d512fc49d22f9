"""A probe that said another latency than the measurement after it: told, and the latter counts.

Depends on: the store.
"""

from __future__ import annotations

from typing import Any

from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import TrialRow

_RATIO = "latency_ratio"


def look(work: UnitOfWork, trial: TrialRow) -> None:
    """Hold a trial's measured latency against what its probe had said, if it had one."""
    probe: dict[str, Any] | None = trial.details.get("probe")
    measured = trial.metrics or {}
    if probe is None or _overlap(probe["metrics"], measured):
        return
    reason = (
        f"the probe of the untrained network gave {_interval(probe['metrics'])}, the measurement "
        f"{_interval(measured)}; the measurement counts"
    )
    trial.details = {**trial.details, "probe": {**probe, "contradiction": reason}}
    work.note(trial, "server", kind="probe", reason=reason)


def told(view: UnitOfWork, study_id: str) -> list[dict[str, Any]]:
    """List the study's trials whose probe the measurement contradicted: number and reason."""
    return [
        {"number": number, "reason": probe["contradiction"]}
        for number, probe in view.trials.details_of(study_id, "probe")
        if "contradiction" in probe
    ]


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    ends = f"{_RATIO}_low", f"{_RATIO}_high"
    if any(end not in metrics for metrics in (one, other) for end in ends):
        return True  # nothing is known that could contradict
    low, high = ends
    return bool(one[low] <= other[high] and other[low] <= one[high])


def _interval(metrics: dict[str, Any]) -> str:
    low, high = metrics[f"{_RATIO}_low"], metrics[f"{_RATIO}_high"]
    return f"a latency ratio of {metrics[_RATIO]:.3f} ({low:.3f} to {high:.3f})"
