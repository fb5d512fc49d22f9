"""Rows as the API shows them.

Depends on: the store, schemas, incumbents. Reads, never writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import timedelta
from functools import lru_cache
from statistics import fmean
from typing import Any

from pydantic import BaseModel

from stillhouse_service import incumbents, known_latency, listed, savings, schemas, transfers
from stillhouse_service.finalized import finalized
from stillhouse_service.operations import Operation
from stillhouse_service.report.proposals import why_proposed
from stillhouse_service.states import StudyState, TrialState
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import (
    BaselineRow,
    DeliveryRow,
    DeviceRow,
    EventRow,
    MeasurementRow,
    StudyRow,
    TokenRow,
    TrialRow,
    WebhookRow,
    WorkerRow,
)

_N_SPANS = 20  # trials that the estimate of the time left looks back on


def baseline(row: BaselineRow) -> schemas.Baseline:
    """Show a baseline."""
    return schemas.Baseline.model_validate(_members(row, schemas.Baseline))


def study(work: UnitOfWork, row: StudyRow) -> schemas.Study:
    """Show a study with its counts and incumbent."""
    return studies(work, [row])[0]


def studies(work: UnitOfWork, rows: Sequence[StudyRow]) -> list[schemas.Study]:
    """Show studies, see `study`; what all of them need is read at once."""
    ids = [row.id for row in rows]
    counts = work.trials.counts_of_all(ids)
    wanted = [row.incumbent_id for row in rows if row.incumbent_id is not None]
    best = {trial.id: trial for trial in work.trials.some(wanted)}
    followed = work.experiments.followed(ids, listed.FINALIZE)
    return [
        _study(
            work,
            row,
            counts[row.id],
            best.get(row.incumbent_id or ""),
            finalized(work, row) if row.id in followed else None,
        )
        for row in rows
    ]


def _study(
    work: UnitOfWork,
    row: StudyRow,
    counts: dict[str, int],
    best: TrialRow | None,
    found: dict[str, Any] | None,
) -> schemas.Study:
    incumbent = (
        None
        if best is None
        else schemas.Incumbent.model_validate(
            {
                "trial_id": best.id,
                "number": best.number,
                "is_certain": incumbents.holds_for_certain(row, best),
                "is_confirmed": incumbents.is_confirmed(best),
                **(best.metrics or {}),
            }
        )
    )
    return schemas.Study(
        id=row.id,
        name=row.name,
        state=row.state,
        reason=row.reason,
        spec=schemas.StudySpec.model_validate(row.spec),
        parameters=row.problem["parameters"],
        counts=counts,
        baseline_measurement=row.baseline_measurement,
        priority=row.priority,
        experiment_id=row.experiment_id,
        saved=schemas.Saved.model_validate(savings.of_study(work, row.id, counts)),
        incumbent=incumbent,
        final=row.final,
        finalized=found,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        eta_s=_eta_s(work, row, counts),
    )


def trial(row: TrialRow) -> schemas.Trial:
    """Show a trial.

    A page has a hundred of them, as this server has stored them: they are not checked once more.
    """
    failed = row.failure
    failure = None if failed is None else schemas.TrialFailure.model_validate(failed)
    return schemas.Trial.model_construct(**_members(row, schemas.Trial) | {"failure": failure})


def trial_detail(work: UnitOfWork, row: TrialRow) -> schemas.TrialDetail:
    """Show a trial with its layers, events and measurements."""
    measured = work.trials.measurements_of(row.id)
    return schemas.TrialDetail.model_validate(
        {
            **_members(row, schemas.Trial),
            "why_proposed": why_proposed(row.origin, row.prediction),
            "probe": row.details.get("probe"),
            "ended_early": row.progress.get("reason") if row.state == TrialState.STOPPED else None,
            "latency_from": known_latency.number_of(measured),
            "layers": measured[-1].result["layers"] if measured else [],
            "sparsity": row.details.get("sparsity", []),
            "survival": row.details.get("survival", []),
            "schedule": row.details.get("schedule"),
            "training": row.details.get("training"),
            "history": row.details.get("history", []),
            "thinning": row.details.get("thinning", []),
            "warnings": row.details.get("warnings", []),
            "transfer": row.details.get(transfers.KEPT, {}),
            "log": row.progress.get("log") or (row.failure or {}).get("log", []),
            "events": [event(one) for one in work.log.events_of(row.id)],
            "measurements": [measurement(one) for one in measured],
        }
    )


def asked(work: UnitOfWork, attempt_id: str) -> schemas.AskedTrial:
    """Show a trial to whoever asked for it."""
    attempt = work.stages.attempt(attempt_id)
    stage = work.stages.stage(attempt.stage_id)
    assert stage.trial_id is not None
    row = work.trials.detailed(stage.trial_id)
    return schemas.AskedTrial(
        trial=trial(row),
        token=attempt.token,
        expires_at=attempt.expires_at or attempt.started_at,
        schedule=row.details.get("schedule"),
        training=row.details.get("training"),
    )


def event(row: EventRow) -> schemas.Event:
    """Show a line of the log."""
    return schemas.Event(
        number=row.id,
        at=row.at,
        subject=row.subject,
        kind=row.kind,
        who=row.who,
        before=row.before,
        after=row.after,
        reason=row.reason,
    )


def measurement(row: MeasurementRow) -> schemas.Measurement:
    """Show a measurement."""
    return schemas.Measurement.model_validate(_members(row, schemas.Measurement))


def device(row: DeviceRow, host: WorkerRow, work: UnitOfWork, ttl_s: float) -> schemas.DeviceInfo:
    """Show a device; it is live when heard of within `ttl_s` seconds."""
    return schemas.DeviceInfo(
        id=row.id,
        worker_id=host.id,
        worker=host.name,
        name=row.name,
        kind=row.kind,
        full_name=str(row.info.get("full_name", "")),
        runtime=str(row.info.get("runtime", "")),
        runtime_version=str(row.info.get("runtime_version", "")),
        is_live=work.now - row.last_seen_at < timedelta(seconds=ttl_s),
        last_seen_at=row.last_seen_at,
    )


def token(row: TokenRow) -> schemas.Token:
    """Show a token."""
    return schemas.Token.model_validate(_members(row, schemas.Token))


def operation(one: Operation) -> schemas.Operation:
    """Show long work; what it made has a path of its own."""
    path = f"/v1/operations/{one.id}/result" if one.state == "done" else None
    return schemas.Operation.model_validate({**_members(one, schemas.Operation), "result": path})


def webhook(row: WebhookRow) -> schemas.Webhook:
    """Show a webhook, without its secret."""
    members = {**_members(row, schemas.Webhook), "study": row.study_id}
    return schemas.Webhook.model_validate(members)


def delivery(row: DeliveryRow) -> schemas.Delivery:
    """Show what became of an event on its way to a webhook."""
    members = {**_members(row, schemas.Delivery), "event": row.event_id}
    return schemas.Delivery.model_validate(members)


def _members(row: object, schema: type[BaseModel]) -> dict[str, Any]:
    """Read the members of `schema` that `row` has under the same name."""
    kind: Any = type(row)
    return {name: getattr(row, name) for name in _shared(kind, schema)}


@lru_cache
def _shared(kind: type, schema: type[BaseModel]) -> tuple[str, ...]:
    known = {one.name for one in fields(kind)} if is_dataclass(kind) else set(dir(kind))
    return tuple(name for name in schema.model_fields if name in known)


def _eta_s(work: UnitOfWork, row: StudyRow, counts: dict[str, int]) -> float | None:
    """Guess the time left from how long the last trials took; none: no trial has ended yet."""
    if row.state != StudyState.RUNNING:
        return None
    spans = work.trials.spans_of(row.id, _N_SPANS)
    if not spans:
        return None
    n_ended = sum(counts[s] for s in (TrialState.COMPLETE, TrialState.FAILED))
    n_ended += counts[TrialState.UNSUPPORTED] + counts[TrialState.STOPPED]
    budget = row.spec["budget"]
    n_left = int(budget["trials"]) - n_ended
    mean_s = fmean((end - start).total_seconds() for start, end in spans)
    left_s = n_left * mean_s / int(row.spec["parallel"])
    if budget.get("wall_s") and row.started_at is not None:
        left_s = min(left_s, float(budget["wall_s"]) - (work.now - row.started_at).total_seconds())
    return max(0.0, left_s)
