"""The store: transactions, and the one way a state changes.

Depends on: sqlalchemy. Every query is in repositories/; only `Store` commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from stillhouse_service import tracing, transition_log
from stillhouse_service.database import reads
from stillhouse_service.ids import utc_now
from stillhouse_service.repositories.baselines import Baselines
from stillhouse_service.repositories.devices import Devices
from stillhouse_service.repositories.experiments import Experiments
from stillhouse_service.repositories.figures import Figures
from stillhouse_service.repositories.log import Log
from stillhouse_service.repositories.overview import Overview
from stillhouse_service.repositories.stages import Stages
from stillhouse_service.repositories.studies import Studies
from stillhouse_service.repositories.tokens import RequestKeys, Tokens
from stillhouse_service.repositories.trials import Trials
from stillhouse_service.repositories.webhooks import Webhooks
from stillhouse_service.states import (
    AnyState,
    AttemptState,
    BaselineState,
    StageState,
    TrialState,
    check_move,
    is_final,
)
from stillhouse_service.tables import (
    AttemptRow,
    BaselineRow,
    EventRow,
    StageRow,
    StudyRow,
    TrialRow,
)
from stillhouse_service.transition_log import Lived, Transition

Stateful = BaselineRow | StudyRow | TrialRow | StageRow | AttemptRow
Topic = Literal["driver", "jobs", "webhooks", "tokens"]  # who wants to hear of a commit
USER = "user"  # somebody without a token
# A lost attempt is over for who watches, though a late result of it may still be taken.
_ENDED = frozenset(
    state
    for kind in (BaselineState, TrialState, AttemptState)
    for state in kind
    if is_final(state) or state == AttemptState.LOST
)
_FAILED = frozenset(
    {BaselineState.FAILED, TrialState.FAILED, AttemptState.FAILED, AttemptState.LOST}
)
_EVENT_KINDS = {StageRow: "stage", AttemptRow: "attempt"}


@dataclass(frozen=True)
class Commit:
    """What has been committed.

    Attributes:
        topics: Who is to hear of it.
        studies: Whose things have moved.
    """

    topics: frozenset[Topic]
    studies: frozenset[str]


class UnitOfWork:
    """One transaction: the repositories on one session, and the time it began.

    Attributes:
        now: The server's time when the transaction began; every row it writes is stamped so.
        user: Who asked for it, for the log.
        topics: Who is to be told when it has been committed.
        moved: The studies that it has moved on, or something of theirs.
        transitions: What it has done, for the process's log and traces.
        took_s: By an attempt's id, how long the device says that it worked on it.
        proposal_s: How long the optimizer took for the trials that it makes.
    """

    def __init__(self, session: Session, now: datetime, user: str) -> None:
        self.now = now
        self.user = user
        self.topics: set[Topic] = set()
        self.moved: set[str] = set()
        self.transitions: list[Transition] = []
        self.took_s: dict[str, float] = {}
        self.proposal_s: float | None = None
        self.baselines = Baselines(session)
        self.studies = Studies(session)
        self.experiments = Experiments(session)
        self.trials = Trials(session)
        self.stages = Stages(session)
        self.devices = Devices(session)
        self.log = Log(session)
        self.overview = Overview(session)
        self.figures = Figures(session)
        self.tokens = Tokens(session)
        self.request_keys = RequestKeys(session)
        self.webhooks = Webhooks(session)

    def move(self, row: Stateful, after: AnyState, who: str, reason: str | None = None) -> None:
        """Take a row to another state and log it, in this transaction.

        Raises:
            IllegalTransition: The state machine does not allow it.
        """
        before = row.state
        check_move(before, after, f"{row.__tablename__} {row.id}")
        row.state = after
        if is_final(after):
            row.finished_at = self.now
        self.note(row, who, before=before, after=after, reason=reason)

    def created(self, row: Stateful, who: str, reason: str | None = None) -> None:
        """Log that a row has come into being, in the state it has."""
        self.note(row, who, before=None, after=row.state, reason=reason)

    def note(
        self,
        row: Stateful,
        who: str,
        *,
        before: str | None = None,
        after: str | None = None,
        reason: str | None = None,
        kind: str | None = None,
    ) -> None:
        """Append to the log what happened to a row, and tell who waits for it."""
        match row:
            case StudyRow():
                study_id: str | None = row.id
            case TrialRow() | StageRow():
                study_id = row.study_id
            case AttemptRow():
                study_id = self.stages.stage(row.stage_id).study_id
            case _:
                study_id = None
        kind = kind or _EVENT_KINDS.get(type(row), "state")
        if transition_log.is_wanted(kind) or tracing.is_on():
            self._say(row, study_id, kind, who, before, after, reason)
        self.log.add(
            EventRow(
                at=self.now,
                study_id=study_id,
                subject=row.id,
                kind=kind,
                who=who,
                before=before,
                after=after,
                reason=reason,
            )
        )
        if study_id is not None:
            self.moved.add(study_id)
        is_job = isinstance(row, StageRow) and row.lane == "device"
        self.topics.add("jobs" if is_job and row.state == StageState.WAITING else "driver")

    def _say(
        self,
        row: Stateful,
        study_id: str | None,
        kind: str,
        who: str,
        before: str | None,
        after: str | None,
        reason: str | None,
    ) -> None:
        """Keep a line for the process's log."""
        stage = row if isinstance(row, StageRow) else None
        if isinstance(row, AttemptRow):
            stage = self.stages.stage(row.stage_id)
        ids = {
            "study": study_id,
            "trial": row.id if isinstance(row, TrialRow) else stage and stage.trial_id,
            "baseline": row.id if isinstance(row, BaselineRow) else stage and stage.baseline_id,
            "stage": stage and stage.id,
            "lease": row.id if isinstance(row, AttemptRow) else None,
            "who": who,
        }
        moved = f"{before} -> {after}" if before and after else after or kind
        text = f"{row.__tablename__} {row.id}: {moved}" + (f" ({reason})" if reason else "")
        known = {name: one for name, one in ids.items() if one}
        self.transitions.append(Transition(kind, text, known, self._life_of(row, stage, reason)))

    def _life_of(self, row: Stateful, stage: StageRow | None, reason: str | None) -> Lived | None:
        match row:
            case TrialRow() | BaselineRow():
                name, begun_at = row.__tablename__, row.created_at
            case AttemptRow() if stage is not None:
                name, begun_at = stage.kind, row.started_at
            case _:
                return None
        ended_at = row.finished_at or self.now if row.state in _ENDED else None
        error = reason or str(row.state) if row.state in _FAILED else None
        is_new = isinstance(row, TrialRow) and ended_at is None
        took_s = self.proposal_s if is_new else self.took_s.get(row.id)
        return Lived(row.id, name, str(row.state), begun_at, ended_at, took_s, error)

    def audit(
        self,
        subject: str,
        kind: str,
        *,
        before: str | None = None,
        after: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Append to the log what the user of this transaction did to something without a state."""
        self.log.add(
            EventRow(
                at=self.now,
                study_id=None,
                subject=subject,
                kind=kind,
                who=self.user,
                before=before,
                after=after,
                reason=reason,
            )
        )


class Store:
    """The database as transactions."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime] = utc_now) -> None:
        """Use `engine`, whose schema must be this version's, and `clock` for every time stamp."""
        self._clock = clock
        self._writing = sessionmaker(engine, expire_on_commit=False)
        reading = engine.execution_options(**reads(engine))
        self._reading = sessionmaker(reading, expire_on_commit=False)
        self._listeners: list[Callable[[Commit], None]] = []

    def on_commit(self, listener: Callable[[Commit], None]) -> None:
        """Have `listener` called, in the committing thread, after every commit."""
        self._listeners.append(listener)

    @contextmanager
    def begin(self, user: str = USER) -> Iterator[UnitOfWork]:
        """Open a transaction that writes; commit at the end, roll back when anything raises."""
        with self._writing.begin() as session:
            session.connection()  # the write lock comes first: time stamps are in commit order
            work = UnitOfWork(session, self._clock(), user)
            yield work
        transition_log.tell(work.transitions)
        tracing.tell(work.transitions)
        commit = Commit(frozenset(work.topics), frozenset(work.moved))
        for listener in self._listeners:
            listener(commit)

    @contextmanager
    def read(self) -> Iterator[UnitOfWork]:
        """Open a transaction that only reads: one consistent view, never waiting for a writer."""
        with self._reading() as session:
            yield UnitOfWork(session, self._clock(), USER)
