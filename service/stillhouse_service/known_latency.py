"""A latency that is known already: the device has timed a network of the same shapes before.

Depends on: the store, stillhouse_benchmark.protocol. Training changes a network's weights, not how
long a device takes for it: only the accuracy of a network that was built before is paid for. The
measurement again of a winner, and its test split, always time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_benchmark.protocol import KnownTiming, Result
from stillhouse_service import incumbents, twins
from stillhouse_service.states import TrialState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import DeviceRow, MeasurementRow, StageRow, StudyRow, TrialRow

# Where a measurement's result says whose times it has.
FROM = "latency_from"
PRECISION = "precision"
BUILT = "built"  # which network was on the device; a trial's probe may have been of another
_TIMES = (
    "latency_p50_ms",
    "latency_p95_ms",
    "throughput_per_s",
    "latency_ratio",
    "latency_ratio_low",
    "latency_ratio_high",
    "aa_ratio",
)


def source_of(
    work: UnitOfWork, stage: StageRow, device: DeviceRow, precision: str
) -> MeasurementRow | None:
    """Find the measurement whose times are those of a stage's network; none: it is timed.

    It must be of the same study (so of the same baseline and settings), device, runtime and
    precision.
    """
    if stage.kind != "benchmark" or stage.trial_id is None:
        return None
    trial = work.trials.named(stage.trial_id)
    if trial.built is None or not twins.are_wanted(work.studies.named(trial.study_id)):
        return None
    return timed_before(work, trial, device.id, device.info, precision)


def timed_before(
    work: UnitOfWork,
    trial: TrialRow,
    device_id: str,
    info: Mapping[str, Any],
    precision: str | None,
) -> MeasurementRow | None:
    """Find the last real timing of a trial's network on a device as it is now."""
    if trial.built is None:
        return None
    for found in work.trials.timings_of(trial.study_id, trial.built, device_id):
        host = found.result.get("host") or {}
        is_same = all(host.get(name) == info.get(name) for name in ("runtime", "runtime_version"))
        is_same = is_same and found.result.get(PRECISION) == precision
        if is_same and found.result.get(BUILT) == trial.built and not found.result.get(FROM):
            return found
    return None


def timing_of(source: MeasurementRow) -> KnownTiming:
    """Take the times out of a stored measurement."""
    return KnownTiming.of(Result.from_json(source.result))


def marked(work: UnitOfWork, stage: StageRow, result: Mapping[str, Any]) -> dict[str, Any]:
    """Write into a result of which network it is, in which precision, and whose times it has.

    A host that does not know of times given along has timed by itself: then they are its own.
    """
    built = None if stage.trial_id is None else work.trials.named(stage.trial_id).built
    told = {**result, PRECISION: stage.order.get(PRECISION), BUILT: built}
    source_id = stage.order.get(FROM)
    source = None if source_id is None else work.trials.measurement(int(source_id))
    if source is None or KnownTiming.of(Result.from_json(told)) != timing_of(source):
        return told
    of = None if source.trial_id is None else work.trials.named(source.trial_id)
    about = {
        "measurement": source.id,
        "trial": None if of is None else of.number,
        "is_own_probe": source.trial_id == stage.trial_id,
    }
    return {**told, FROM: about}


def told(result: Mapping[str, Any]) -> str | None:
    """Say in the log whose times a trial has; none: its own."""
    about = result.get(FROM)
    if not about:
        return None
    if about["is_own_probe"]:
        return "timed as its untrained network was, which has the same shapes"
    return f"timed as trial {about['trial']}, which built the same network; its accuracy is its own"


def share(work: UnitOfWork, study: StudyRow, trial: TrialRow, before: Mapping[str, Any]) -> None:
    """Give the new times of a trial that was measured again to all that had its old ones.

    Else its lucky figures would live on in them, and one of them would be the incumbent next.
    """
    if trial.built is None or trial.metrics is None:
        return
    for other in work.trials.built_like(study.id, trial.built):
        known = other.metrics or {}
        had_same = all(known.get(name) == before.get(name) for name in _TIMES)
        if other.id == trial.id or other.state != TrialState.COMPLETE or not had_same:
            continue
        new = {name: trial.metrics[name] for name in (*_TIMES, incumbents.N_MEASUREMENTS)}
        other.metrics = {**known, **new}
        incumbents.judge(study, other)


def number_of(measured: Sequence[MeasurementRow]) -> int | None:
    """Name the trial that was timed for another, by its number; none: it was timed itself."""
    about = measured[-1].result.get(FROM) if measured else None
    return None if about is None else about["trial"]
