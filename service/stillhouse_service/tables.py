"""The rows: what the database, the only truth, holds.

Depends on: sqlalchemy. Plain SQL types only, so that SQLite and Postgres hold the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from stillhouse_service.errors import IllegalTransition
from stillhouse_service.states import (
    AttemptState,
    BaselineState,
    StageState,
    StudyState,
    TrialState,
)


class UtcDateTime(TypeDecorator[datetime]):
    """A time with its zone, always UTC; SQLite itself would forget the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without zone, store UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _words(kind: type[Any]) -> Enum:
    """Store a StrEnum by its value, without a constraint: members may be added."""
    return Enum(
        kind, native_enum=False, length=16, values_callable=lambda states: [s.value for s in states]
    )


class Base(DeclarativeBase):
    """Root of all rows."""

    type_annotation_map = {  # noqa: RUF012  # sqlalchemy reads it as a plain class attribute
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[dict[str, Any]]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        BaselineState: _words(BaselineState),
        StudyState: _words(StudyState),
        TrialState: _words(TrialState),
        StageState: _words(StageState),
        AttemptState: _words(AttemptState),
    }


class _Lived:
    """When a thing was made, started and ended."""

    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class BaselineRow(_Lived, Base):
    """A trained network that studies compress."""

    __tablename__ = "baseline"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    model: Mapped[str] = mapped_column(String(100))
    dataset: Mapped[str] = mapped_column(String(100))
    recipe: Mapped[dict[str, Any]]
    seed: Mapped[int]
    state: Mapped[BaselineState]
    progress: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    error: Mapped[str | None] = mapped_column(Text)
    artifacts: Mapped[dict[str, Any]]  # name -> sha256
    details: Mapped[dict[str, Any]] = mapped_column(deferred=True)  # layers, history, card


class StudyRow(_Lived, Base):
    """One optimisation."""

    __tablename__ = "study"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    state: Mapped[StudyState] = mapped_column(index=True)
    reason: Mapped[str | None] = mapped_column(Text)
    # none: its trials are run outside, by whoever asks for them
    baseline_id: Mapped[str | None] = mapped_column(ForeignKey("baseline.id"))
    spec: Mapped[dict[str, Any]]
    problem: Mapped[dict[str, Any]]  # parameters and forbidden combinations, from the template
    baseline_measurement: Mapped[dict[str, Any] | None]
    incumbent_id: Mapped[str | None] = mapped_column(String(32))
    final: Mapped[dict[str, Any] | None]
    # failed trials in a row are counted from this number on; a resume moves it
    failures_from: Mapped[int]
    priority: Mapped[int] = mapped_column(default=0)  # higher goes first; its stages copy it
    # the experiment whose cases it runs; none: an optimizer proposes its trials
    experiment_id: Mapped[str | None] = mapped_column(String(32), index=True, default=None)
    # grows with every transaction that changes it or one of its trials (`Store.begin`)
    revision: Mapped[int] = mapped_column(default=0)


class ExperimentRow(Base):
    """One stage of the research plan: cases, run on every baseline and device by a study each."""

    __tablename__ = "experiment"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    stage: Mapped[str] = mapped_column(String(16))  # verify, baseline, sweep, combine, finalize
    name: Mapped[str] = mapped_column(String(200))
    # what it follows from: the sweep that is combined, the study that is finalised
    subject_id: Mapped[str | None] = mapped_column(String(32), index=True)
    spec: Mapped[dict[str, Any]]
    cases: Mapped[dict[str, Any]] = mapped_column(deferred=True)  # baseline's id -> its cases
    notes: Mapped[list[str]]  # what was decided while it was laid out
    created_at: Mapped[datetime]


class TrialRow(_Lived, Base):
    """One evaluation of one config."""

    __tablename__ = "trial"
    __table_args__ = (
        UniqueConstraint("study_id", "number"),
        Index("ix_trial_counts", "study_id", "state", "is_feasible", "origin", "rung"),
        Index("ix_trial_built", "study_id", "built"),
    )
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"))
    number: Mapped[int]  # 0, 1, 2, ... within the study
    state: Mapped[TrialState]
    config: Mapped[dict[str, Any]]
    origin: Mapped[str] = mapped_column(String(16))
    prediction: Mapped[dict[str, Any]]
    seed: Mapped[int]
    metrics: Mapped[dict[str, Any] | None]
    is_feasible: Mapped[bool | None]
    violations: Mapped[dict[str, Any]]
    failure: Mapped[dict[str, Any] | None]
    progress: Mapped[dict[str, Any]]
    artifacts: Mapped[dict[str, Any]]  # name -> sha256
    # names the network by its operations and shapes; none: not built (yet)
    built: Mapped[str | None] = mapped_column(String(64), default=None)
    # the trial whose result it has, as both come to the same; none: it was run itself
    twin_of: Mapped[str | None] = mapped_column(String(32), default=None)
    # how far it was trained, and the trial of the rung below; none: the study has no rungs
    rung: Mapped[int | None] = mapped_column(default=None)
    promoted_from: Mapped[str | None] = mapped_column(String(32), default=None)
    # schedule, training, sparsity per layer: long, so lists of trials leave it unread
    details: Mapped[dict[str, Any]] = mapped_column(deferred=True)


class StageRow(Base):
    """One piece of work of a baseline, study or trial; a stage that is done is never run again."""

    __tablename__ = "stage"
    __table_args__ = (Index("ix_stage_lane_state", "lane", "state"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(
        String(16)
    )  # train, dry-run, compile, check, sketch, probe, compress, benchmark, confirm, final, asked
    lane: Mapped[str] = mapped_column(String(16))  # compute, device, outside
    state: Mapped[StageState]
    baseline_id: Mapped[str | None] = mapped_column(ForeignKey("baseline.id"), index=True)
    study_id: Mapped[str | None] = mapped_column(ForeignKey("study.id"), index=True)
    trial_id: Mapped[str | None] = mapped_column(ForeignKey("trial.id"), index=True)
    device: Mapped[str | None] = mapped_column(String(100))  # kind or id of the device it needs
    order: Mapped[dict[str, Any]]  # what is to be done, by value or by hash
    n_spent: Mapped[int]  # attempts lost or failed so far
    priority: Mapped[int] = mapped_column(default=0)  # its study's
    failure: Mapped[dict[str, Any] | None]
    available_at: Mapped[datetime]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class AttemptRow(Base):
    """One handing-out of a stage; on a device it is the lease."""

    __tablename__ = "attempt"
    __table_args__ = (
        UniqueConstraint("stage_id", "number"),
        Index("ix_attempt_holder", "holder", "started_at"),
    )
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    stage_id: Mapped[str] = mapped_column(ForeignKey("stage.id"))
    number: Mapped[int]  # 1, 2, 3, ... within the stage
    token: Mapped[str] = mapped_column(String(64))
    state: Mapped[AttemptState] = mapped_column(index=True)
    holder: Mapped[str] = mapped_column(String(200))  # a device's id, or the compute cluster
    expires_at: Mapped[datetime | None]  # none on compute: its end is reported
    failure: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class WorkerRow(Base):
    """A device host."""

    __tablename__ = "worker"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    version: Mapped[str] = mapped_column(String(50))
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


class DeviceRow(Base):
    """A device of a host."""

    __tablename__ = "device"
    __table_args__ = (UniqueConstraint("worker_id", "name"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    worker_id: Mapped[str] = mapped_column(ForeignKey("worker.id"))
    name: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(50), index=True)
    info: Mapped[dict[str, Any]]  # as the host described it
    last_seen_at: Mapped[datetime]


class MeasurementRow(Base):
    """One device job's result; append-only."""

    __tablename__ = "measurement"
    id: Mapped[int] = mapped_column(primary_key=True)
    stage_id: Mapped[str] = mapped_column(ForeignKey("stage.id"))
    attempt_id: Mapped[str] = mapped_column(ForeignKey("attempt.id"))
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), index=True)
    trial_id: Mapped[str | None] = mapped_column(ForeignKey("trial.id"), index=True)
    device_id: Mapped[str] = mapped_column(String(32))
    purpose: Mapped[str] = mapped_column(String(16))  # check, probe, trial, confirm, final
    split: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]
    metrics: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any]]  # as the host reported it


class EventRow(Base):
    """One line of the log: who, when, what, why; append-only."""

    __tablename__ = "event"
    # Few of many events, and a page asks for them all the time.
    __table_args__ = (
        Index(
            "ix_event_incumbent",
            "study_id",
            sqlite_where=text("kind = 'incumbent'"),
            postgresql_where=text("kind = 'incumbent'"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    study_id: Mapped[str | None] = mapped_column(String(32), index=True)
    subject: Mapped[str] = mapped_column(String(32), index=True)  # id of what it is about
    kind: Mapped[str] = mapped_column(String(16))
    who: Mapped[str] = mapped_column(String(200))
    before: Mapped[str | None] = mapped_column(String(32))
    after: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(Text)


class ArtifactRow(Base):
    """A stored file that something in the database names."""

    __tablename__ = "artifact"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    n_bytes: Mapped[int]
    media_type: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]


class TokenRow(Base):
    """Who may do what; the token itself is known to its holder alone."""

    __tablename__ = "token"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))  # who, in the log
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class RequestKeyRow(Base):
    """A POST that came with an `Idempotency-Key`, and what it made or changed."""

    __tablename__ = "request_key"
    caller: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))  # of path and body
    subject: Mapped[str] = mapped_column(String(32))
    subjects: Mapped[list[str] | None]  # where it made several things
    created_at: Mapped[datetime] = mapped_column(index=True)


class DriverRow(Base):
    """Who drives: one row (leadership.py)."""

    __tablename__ = "driver"
    id: Mapped[int] = mapped_column(primary_key=True)  # always 1
    epoch: Mapped[int]  # grows with every change of hands: the fencing token
    holder: Mapped[str | None] = mapped_column(String(200))  # for people; none: given up
    until: Mapped[datetime | None]  # by the database's clock; none: nobody needs to wait for it
    installation: Mapped[str] = mapped_column(String(32))  # this database's own name
    is_store_marked: Mapped[bool]  # whether the artifact store bears that name


class WebhookRow(Base):
    """An address that is told of events."""

    __tablename__ = "webhook"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    secret: Mapped[str] = mapped_column(String(200))  # signs; shown once, never logged
    kinds: Mapped[list[str]]  # of events; empty: all
    study_id: Mapped[str | None] = mapped_column(ForeignKey("study.id"))  # none: all studies
    made_by: Mapped[str] = mapped_column(String(200))
    after_event: Mapped[int]  # up to this event, deliveries have been written down
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class DeliveryRow(Base):
    """An event on its way to a webhook, and what became of it."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_id"),
        Index("ix_delivery_state_next_at", "state", "next_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhook.id"))
    event_id: Mapped[int] = mapped_column(ForeignKey("event.id"))
    state: Mapped[str] = mapped_column(String(16))  # waiting, delivered, given-up
    n_tries: Mapped[int]
    next_at: Mapped[datetime]
    status: Mapped[int | None]  # of the last answer
    error: Mapped[str | None] = mapped_column(Text)  # of the last try
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


@event.listens_for(MeasurementRow, "before_update")
@event.listens_for(MeasurementRow, "before_delete")
@event.listens_for(EventRow, "before_update")
@event.listens_for(EventRow, "before_delete")
def _refuse_change(mapper: object, connection: object, row: MeasurementRow | EventRow) -> None:
    """Keep append-only rows as they were written."""
    raise IllegalTransition(f"{row.__tablename__} {row.id} is append-only")
