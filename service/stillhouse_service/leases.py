"""What a device host asks of the server: register, lease, heartbeat, report.

Depends on: the store, stillhouse_benchmark.protocol. Each function is one short transaction's work;
a report that comes late, twice or from a stranger changes nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from stillhouse_benchmark.protocol import (
    COMPILES,
    CheckResult,
    Device,
    Failure,
    Lease,
    ProtocolError,
    Registered,
    Result,
)
from stillhouse_service import attempts, dry_runs, failures, outcomes, probes
from stillhouse_service.errors import LeaseLost, NotFound, ServiceError
from stillhouse_service.ids import new_id
from stillhouse_service.jobs import job_of
from stillhouse_service.settings import Settings
from stillhouse_service.states import AttemptState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import ArtifactRow, AttemptRow, DeviceRow, StageRow, WorkerRow
from stillhouse_service.tracing import traceparent_of


def register(
    work: UnitOfWork, name: str, version: str, devices: Sequence[Device], settings: Settings
) -> Registered:
    """Make a host and its devices known; the same name again keeps its ids."""
    host = work.devices.host_called(name)
    if host is None:
        host = WorkerRow(
            id=new_id("wrk"),
            name=name,
            version=version,
            created_at=work.now,
            last_seen_at=work.now,
        )
        work.devices.add(host)
    host.version, host.last_seen_at = version, work.now
    known = work.devices.of_host(host.id)
    ids = {}
    for device in devices:
        row = known.get(device.name)
        if row is None:
            row = DeviceRow(
                id=new_id("dev"),
                worker_id=host.id,
                name=device.name,
                kind=device.kind,
                info={},
                last_seen_at=work.now,
            )
            work.devices.add(row)
        row.kind, row.info, row.last_seen_at = device.kind, asdict(device), work.now
        ids[device.name] = row.id
    work.topics.add("driver")  # a study may have waited for such a device
    return Registered(
        id=host.id,
        device_ids=ids,
        heartbeat_s=settings.heartbeat_s,
        lease_s=settings.lease_s,
    )


def ask(work: UnitOfWork, worker_id: str, device_id: str, settings: Settings) -> None:
    """Note that a device is free: it lives, and what it held before it holds no more.

    Raises:
        NotFound: No such host, or no such device of it: it must register again.
    """
    seen(work, worker_id, device_id)
    for attempt in work.stages.held_by(device_id):
        attempts.lose(work, attempt, "its device asked for other work", settings)


def claim(work: UnitOfWork, worker_id: str, device_id: str, settings: Settings) -> Lease | None:
    """Lease the oldest job that waits for this device, if there is one.

    Raises:
        NotFound: No such host, or no such device of it.
    """
    device = seen(work, worker_id, device_id)
    stage = work.stages.next_for_device(serves(device), work.now)
    return None if stage is None else _lease(work, device, stage, settings)


def claim_all(
    work: UnitOfWork, devices: Sequence[DeviceRow], settings: Settings
) -> list[Lease | ServiceError | None]:
    """Lease a job to each of several devices that were asked for it just now, as far as they go.

    What all of them need is read at once; `claim` for each would give the same.

    Returns:
        In the order of `devices`: a lease, nothing, or why the job cannot be leased.
    """
    names = {name for device in devices for name in serves(device)}
    waiting = work.stages.waiting_for(names, work.now, len(devices))
    is_cut_off = len(waiting) == len(devices)
    chosen: list[StageRow | None] = []
    for device in devices:
        mine = serves(device)
        stage = next((stage for stage in waiting if stage.device in mine), None)
        if stage is not None:
            waiting.remove(stage)
        elif is_cut_off:  # what waits for this one may stand behind the end
            found = work.stages.waiting_for(mine, work.now, len(devices))
            stage = next((one for one in found if one not in chosen), None)
        chosen.append(stage)
    stages = [stage for stage in chosen if stage is not None]
    at_hand = _read_ahead(work, stages) if stages else None
    answers: list[Lease | ServiceError | None] = []
    for device, stage in zip(devices, chosen, strict=True):
        try:
            answers.append(
                None if stage is None else _lease(work, device, stage, settings, at_hand)
            )
        except ServiceError as error:  # raised before anything was written
            answers.append(error)
    return answers


@dataclass(frozen=True)
class _AtHand:
    """What several leases need, read at once.

    Attributes:
        artifacts: By hash.
        n_attempts: By stage.
        rows: Kept so that the session does not forget them.
    """

    artifacts: Mapping[str, ArtifactRow]
    n_attempts: Mapping[str, int]
    rows: Sequence[object]


def _read_ahead(work: UnitOfWork, stages: Sequence[StageRow]) -> _AtHand:
    ids = [stage.id for stage in stages]
    trial_ids = [stage.trial_id for stage in stages if stage.trial_id is not None]
    if len(stages) == 1:  # one statement for all, which of many would bring a study many times
        n_attempts = {ids[0]: work.stages.read_subjects(ids[0])}
        trials = [work.trials.named(trial_id) for trial_id in trial_ids]
    else:
        n_attempts = work.stages.n_attempts_of(ids)
        trials = work.trials.some(trial_ids)
    studies = [work.studies.named(name) for name in {s.study_id for s in stages if s.study_id}]
    baselines = [work.baselines.of(study) for study in studies]
    hashes = {sha256 for trial in trials for sha256 in trial.artifacts.values()}
    hashes |= {sha256 for baseline in baselines for sha256 in baseline.artifacts.values()}
    return _AtHand(
        artifacts=work.log.artifacts(hashes),
        n_attempts=n_attempts,
        rows=[*trials, *studies, *baselines],
    )


def _lease(
    work: UnitOfWork,
    device: DeviceRow,
    stage: StageRow,
    settings: Settings,
    at_hand: _AtHand | None = None,
) -> Lease:
    known, n_before = None, None
    if at_hand is not None:
        known, n_before = at_hand.artifacts, at_hand.n_attempts[stage.id]
    job = job_of(work, stage, device, known)
    attempt = attempts.start(work, stage, device.id, settings.lease_s, n_before)
    return Lease(
        id=attempt.id,
        token=attempt.token,
        expires_in_s=settings.lease_s,
        job=job,
        traceparent=traceparent_of(stage, attempt),
    )


def serves(device: DeviceRow) -> tuple[str, ...]:
    """Name everything that a stage for this device may ask for."""
    known = device.info.get("capabilities", ())
    compilers = [capability for capability in known if capability.startswith(COMPILES)]
    return (device.kind, device.name, device.id, *compilers)


def heartbeat(
    work: UnitOfWork, lease_id: str, token: str, progress: Mapping[str, Any], settings: Settings
) -> tuple[float, bool]:
    """Extend a lease.

    Returns:
        Seconds until it ends without another heartbeat, and whether the job is no longer wanted.

    Raises:
        NotFound: No such lease.
        LeaseLost: It is over, or the token is another's.
    """
    attempt = _held(work, lease_id, token)
    if attempt.state == AttemptState.CANCELLED:
        return settings.lease_s, True
    if attempt.state != AttemptState.RUNNING:
        raise LeaseLost(f"lease {lease_id} is {attempt.state}")
    attempt.expires_at = work.now + timedelta(seconds=settings.lease_s)
    device = work.devices.device(attempt.holder)
    seen(work, device.worker_id, device.id)
    stage = work.stages.stage(attempt.stage_id)
    if stage.trial_id is not None and stage.kind == "benchmark":
        work.trials.named(stage.trial_id).progress = {"stage": "benchmarking", "device": progress}
    return settings.lease_s, False


def result(work: UnitOfWork, lease_id: str, token: str, measured: Result) -> None:
    """Take a job's result; the same report again is harmless.

    Raises:
        NotFound: No such lease.
        LeaseLost: Somebody else has finished, or nobody wants the result any more.
    """
    work.stages.read_reported(lease_id)
    attempt = _held(work, lease_id, token)
    if attempt.state == AttemptState.SUCCEEDED:
        return  # the same report again: its answer was lost on the way
    is_probe = work.stages.stage(attempt.stage_id).kind == probes.PROBE
    if measured.accuracy is None and not is_probe:
        raise ProtocolError("result.accuracy", "is missing; only a probe has none")
    if is_probe:  # a host that judges nevertheless has judged an untrained network
        measured = replace(measured, accuracy=None)
    work.spent.on_device_s[attempt.id] = measured.duration_s
    stage = attempts.succeed(work, attempt)
    report = measured.to_json()
    assert isinstance(report, dict)
    outcomes.measured(work, stage, attempt, report)
    if is_probe:
        probes.measured(work, stage)


def checked(work: UnitOfWork, lease_id: str, token: str, said: CheckResult) -> None:
    """Take what a compiler said; the same report again is harmless.

    Raises:
        NotFound: No such lease.
        LeaseLost: Somebody else has finished, or nobody wants the answer any more.
    """
    attempt = _held(work, lease_id, token)
    if attempt.state == AttemptState.SUCCEEDED:
        return
    if work.stages.stage(attempt.stage_id).kind != "compile":
        raise LeaseLost(f"lease {lease_id} is of a job that measures; wanted its result")
    dry_runs.compiled(work, attempts.succeed(work, attempt), said)


def failure(
    work: UnitOfWork, lease_id: str, token: str, report: Failure, settings: Settings
) -> None:
    """Take a job's failure; after the lease is over it changes nothing.

    Raises:
        NotFound: No such lease.
        LeaseLost: The token is another's.
    """
    attempt = _held(work, lease_id, token)
    found = failures.Failure(
        stage=report.stage,
        failure_class=report.failure_class,
        reason=report.reason,
        layers=report.layers,
    )
    attempts.fail(work, attempt, found, settings)


def release(work: UnitOfWork, lease_id: str, token: str) -> None:
    """Take a job back unfinished; after the lease is over it changes nothing.

    Raises:
        NotFound: No such lease.
        LeaseLost: The token is another's.
    """
    attempts.release(work, _held(work, lease_id, token), "the device host handed it back")


def expire(work: UnitOfWork, settings: Settings) -> None:
    """Give up every lease that has run out."""
    for attempt in work.stages.expired(work.now):
        attempts.lose(work, attempt, "no heartbeat before the lease ran out", settings)


def _held(work: UnitOfWork, lease_id: str, token: str) -> AttemptRow:
    """Find the lease that the token belongs to."""
    attempt = work.stages.attempt(lease_id)
    if not hmac.compare_digest(attempt.token.encode(), token.encode()):
        raise LeaseLost(f"lease {lease_id} has another token")
    return attempt


def seen(work: UnitOfWork, worker_id: str, device_id: str, known_for_s: float = 0.0) -> DeviceRow:
    """Note that a device lives, unless that was noted less than `known_for_s` ago.

    Raises:
        NotFound: No such host, or no such device of it: it must register again.
    """
    host, device = work.devices.host(worker_id), work.devices.device(device_id)
    if device.worker_id != host.id:
        raise NotFound(f"worker {worker_id} has no device {device_id}: register again")
    # Either way: of a clock that was set back, what was noted lies in the future.
    if abs(work.now - device.last_seen_at) >= timedelta(seconds=known_for_s):
        host.last_seen_at = device.last_seen_at = work.now
    return device
