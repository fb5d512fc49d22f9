"""What compute and the device hosts do now, what waits for them, and which device is suspect.

Depends on: the store, leases.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from stillhouse_service import views
from stillhouse_service.leases import serves
from stillhouse_service.schemas import overview as shapes
from stillhouse_service.settings import Settings
from stillhouse_service.states import AttemptState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import AttemptRow, DeviceRow, MeasurementRow, WorkerRow

# As many as a device host takes by default, and the classes that it counts: its quarantine.
_N_SUSPECT = 3
_OF_DEVICE = ("device-fault", "timeout", "out-of-memory")
_N_MEASUREMENTS = 50  # of all devices, looked at for a temperature
_N_ATTEMPTS = 10


def work_overview(view: UnitOfWork, settings: Settings) -> shapes.WorkOverview:
    """Look at compute and every device host."""
    waiting = view.overview.waiting_by_device()
    running = view.stages.running_on("device")
    measured: dict[str, MeasurementRow] = {}
    for one in view.overview.last_measurements(_N_MEASUREMENTS):
        measured.setdefault(one.device_id, one)
    hosts: dict[str, tuple[WorkerRow, list[DeviceRow]]] = {}
    for device, host in view.devices.all_with_hosts():
        hosts.setdefault(host.id, (host, []))[1].append(device)
    ttl = timedelta(seconds=settings.device_ttl_s)
    mode = settings.compute if settings.compute in ("embedded", "none") else "cluster"
    return shapes.WorkOverview(
        compute=shapes.Compute.model_validate(
            {
                "mode": mode,
                "n_waiting": view.overview.n_waiting_on("compute"),
                "now": [_now(view, attempt) for attempt in view.stages.running_on("compute")],
            }
        ),
        hosts=[
            shapes.Host(
                id=host.id,
                name=host.name,
                version=host.version,
                last_seen_at=max([host.last_seen_at, *(d.last_seen_at for d in devices)]),
                is_live=any(view.now - d.last_seen_at < ttl for d in devices),
                devices=[
                    _device(view, device, host, running, waiting, measured.get(device.id), settings)
                    for device in devices
                ],
            )
            for host, devices in hosts.values()
        ],
        waiting=[shapes.Waiting(device=name, n=n) for name, n in sorted(waiting.items())],
    )


def _device(
    view: UnitOfWork,
    device: DeviceRow,
    host: WorkerRow,
    running: Sequence[AttemptRow],
    waiting: dict[str, int],
    measured: MeasurementRow | None,
    settings: Settings,
) -> shapes.DeviceWork:
    held = [attempt for attempt in running if attempt.holder == device.id]
    n_failed, last = _failed_in_a_row(view.overview.last_attempts_of(device.id, _N_ATTEMPTS))
    has_asked = last is None or (
        last.finished_at is not None and device.last_seen_at > last.finished_at
    )
    told = {} if measured is None else measured.result.get("host", {})
    shown = views.device(device, host, view, settings.device_ttl_s)
    return shapes.DeviceWork(
        **shown.model_dump(),
        now=_now(view, held[0]) if held else None,
        n_waiting=sum(waiting.get(name, 0) for name in set(serves(device))),
        temperature_c=told.get("temperature_c"),
        measured_at=None if measured is None else measured.at,
        n_failed_in_a_row=n_failed,
        last_failure=None if last is None else str((last.failure or {}).get("reason", "")),
        is_suspect=n_failed >= _N_SUSPECT and not held and not has_asked,
    )


def _failed_in_a_row(attempts: Sequence[AttemptRow]) -> tuple[int, AttemptRow | None]:
    """Count a device's own failures since its last result, and give the last of them."""
    found: list[AttemptRow] = []
    for attempt in attempts:
        if attempt.state == AttemptState.SUCCEEDED:
            break
        is_its_own = (attempt.failure or {}).get("class") in _OF_DEVICE
        if attempt.state == AttemptState.FAILED and is_its_own:
            found.append(attempt)
    return len(found), found[0] if found else None


def _now(view: UnitOfWork, attempt: AttemptRow) -> shapes.WorkNow:
    stage = view.stages.stage(attempt.stage_id)
    trial = None if stage.trial_id is None else view.trials.find(stage.trial_id)
    progress = {} if trial is None else trial.progress
    if stage.baseline_id is not None and trial is None:
        progress = view.baselines.named(stage.baseline_id).progress
    return shapes.WorkNow(
        kind=stage.kind,
        study_id=stage.study_id,
        trial_id=stage.trial_id,
        number=None if trial is None else trial.number,
        baseline_id=stage.baseline_id,
        progress={k: v for k, v in progress.items() if k != "log"},
        started_at=attempt.started_at,
    )
