"""The store: transactions, and the one way a state changes.

Depends on: sqlalchemy. Every query is in repositories/; only `Store` commits.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Engine, event, inspect
from sqlalchemy.orm import Session, sessionmaker

from stillhouse_service.announcements import Commit, Topic, announce
from stillhouse_service.database import BEGAN_AT, glances, reads
from stillhouse_service.database_clock import DatabaseClock
from stillhouse_service.ids import utc_now
from stillhouse_service.repositories.baselines import Baselines
from stillhouse_service.repositories.devices import Devices
from stillhouse_service.repositories.drivers import Drivers
from stillhouse_service.repositories.experiments import Experiments
from stillhouse_service.repositories.figures import Figures
from stillhouse_service.repositories.log import Log
from stillhouse_service.repositories.overview import Overview
from stillhouse_service.repositories.stages import Stages
from stillhouse_service.repositories.studies import Studies
from stillhouse_service.repositories.tokens import RequestKeys, Tokens
from stillhouse_service.repositories.trials import Trials
from stillhouse_service.repositories.webhooks import Webhooks
from stillhouse_service.states import STEPS, AnyState, StageState, check_move, is_final
from stillhouse_service.tables import (
    AttemptRow,
    BaselineRow,
    StageRow,
    StudyRow,
    TrialRow,
)
from stillhouse_service.transition_log import is_wanted, tell
from stillhouse_service.transitions import Spent, Transition, describe

Stateful = BaselineRow | StudyRow | TrialRow | StageRow | AttemptRow
USER = "user"  # somebody without a token
_KEPT = "kept"  # in a session's info: the rows it has read
_CHANGED = "changed"  # in a session's info: the studies whose answer will be another
_TOUCHED = "touched"  # the studies of which any row was written; none: it may be any study's
_UNSHOWN = {"progress"}  # of a trial: what its study's answer does not show
_EVENT_KINDS = {StageRow: "stage", AttemptRow: "attempt"}


class UnitOfWork:
    """One transaction: the repositories on one session, and the time it began.

    Attributes:
        now: The server's time when the transaction began; every row it writes is stamped so.
        user: Who asked for it, for the log.
        topics: Who is to be told when it has been committed.
        noted: The studies of whose log it has written a line.
        moved: The studies that may have a next step: they have moved on, or something of theirs has
            ended.
        transitions: What it has done, for the process's log and traces.
        spent: Times for them that no row keeps.
    """

    def __init__(self, session: Session, now: datetime, user: str) -> None:
        self.now = now
        self.user = user
        self.topics: set[Topic] = set()
        self.noted: set[str] = set()
        self.moved: set[str] = set()
        self.transitions: list[Transition] = []
        self.spent = Spent(None, {})
        self.baselines = Baselines(session)
        self.studies = Studies(session)
        self.experiments = Experiments(session)
        self.trials = Trials(session)
        self.stages = Stages(session)
        self.devices = Devices(session)
        self.drivers = Drivers(session)
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
        if is_wanted(kind):
            stage = row if isinstance(row, StageRow) else None
            if isinstance(row, AttemptRow):
                stage = self.stages.stage(row.stage_id)
            what = describe(row, stage, kind, who, before, after, reason, self.now, self.spent)
            self.transitions.append(what)
        self.log.add_event(
            at=self.now,
            study_id=study_id,
            subject=row.id,
            kind=kind,
            who=who,
            before=before,
            after=after,
            reason=reason,
        )
        if study_id is not None:
            self.noted.add(study_id)
            if _decides(row):
                self.moved.add(study_id)
        is_job = isinstance(row, StageRow) and row.lane == "device"
        self.topics.add("jobs" if is_job and row.state == StageState.WAITING else "driver")

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
        self.log.add_event(
            at=self.now,
            study_id=None,
            subject=subject,
            kind=kind,
            who=self.user,
            before=before,
            after=after,
            reason=reason,
        )


class Store:
    """The database as transactions."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime] | None = None) -> None:
        """Use a database.

        Args:
            engine: The database's, whose schema must be this version's.
            clock: Stamps every row; by default Postgres' own clock, on SQLite this machine's.
        """
        self._is_shared = engine.dialect.name == "postgresql"
        self._clock = clock or (DatabaseClock() if self._is_shared else utc_now)
        self._writing = sessionmaker(engine, expire_on_commit=False)
        event.listen(self._writing, "before_flush", _note_changes)
        event.listen(self._writing, "loaded_as_persistent", _keep)
        reading = engine.execution_options(**reads(engine))
        self._reading = sessionmaker(reading, expire_on_commit=False)
        glancing = engine.execution_options(**glances(engine))
        self._glancing = sessionmaker(glancing, expire_on_commit=False)
        self._listeners: list[Callable[[Commit], None]] = []
        self._fence: Callable[[UnitOfWork], None] | None = None
        self.origin = secrets.token_hex(8)  # tells our announcements from others'

    def on_commit(self, listener: Callable[[Commit], None]) -> None:
        """Have `listener` called, in the committing thread, after every commit."""
        self._listeners.append(listener)

    def heard(self, commit: Commit) -> None:
        """Tell the listeners of a commit, ours or another server's."""
        for listener in self._listeners:
            listener(commit)

    def fenced(self, fence: Callable[[UnitOfWork], None]) -> Store:
        """Give this store with `fence` called first in every transaction that writes.

        Where it raises, the transaction writes nothing.
        """
        other = copy.copy(self)
        other._fence = fence
        return other

    def set_clock(self, now: datetime) -> None:
        """Take the database's time, told just now."""
        if isinstance(self._clock, DatabaseClock):
            self._clock.set(now)

    @contextmanager
    def begin(self, user: str = USER) -> Iterator[UnitOfWork]:
        """Open a transaction that writes; commit at the end, roll back when anything raises."""
        with self._writing.begin() as session:
            # The write lock comes first: time stamps are in commit order.
            now = self._now_of(session)
            work = UnitOfWork(session, now, user)
            if self._fence is not None:
                self._fence(work)
            yield work
            session.flush()
            work.log.write_events()
            changed: set[str] = session.info.get(_CHANGED, set())
            touched: set[str] | None = session.info.get(_TOUCHED, set())
            commit = Commit(
                frozenset(work.topics),
                frozenset(work.moved),
                None if touched is None else frozenset(touched | work.noted),
            )
            if self._is_shared and not commit.is_quiet:
                announce(session, self.origin, now, commit, changed)
            elif changed:
                work.studies.revise(changed)
        tell(work.transitions)
        self.heard(commit)

    def _now_of(self, session: Session) -> datetime:
        """Give the time at which a transaction got the write lock, by the clock in use."""
        began: datetime | None = session.connection().info.get(BEGAN_AT)
        if began is None or not isinstance(self._clock, DatabaseClock):
            return self._clock()
        self._clock.set(began)
        return began

    @contextmanager
    def read(self) -> Iterator[UnitOfWork]:
        """Open a transaction that only reads: one consistent view, never waiting for a writer."""
        with self._reading() as session:
            yield UnitOfWork(session, self._clock(), USER)

    @contextmanager
    def glance(self) -> Iterator[UnitOfWork]:
        """Read what need not be of one moment, a statement at a time; cheaper than `read`."""
        with self._glancing() as session:
            yield UnitOfWork(session, self._clock(), USER)


def _decides(row: Stateful) -> bool:
    """Tell whether what happened to a row may give its study a next step.

    That something was begun gives nobody anything to decide; that it has ended does, unless its
    trial goes on.
    """
    match row:
        case StudyRow():
            return True
        case TrialRow():
            return is_final(row.state)
        case StageRow():
            return is_final(row.state) and row.kind not in STEPS
        case _:
            return False  # with an attempt its stage ends, or waits again


def _keep(session: Session, row: object) -> None:
    """Keep a row until its transaction ends: what is looked up again is not read again."""
    session.info.setdefault(_KEPT, []).append(row)


def _note_changes(session: Session, _context: object, _instances: object) -> None:
    """Remember whose studies' rows are about to be written."""
    changed = session.info.setdefault(_CHANGED, set())
    touched: set[str] | None = session.info.setdefault(_TOUCHED, set())
    for row in (*session.new, *session.dirty):
        match row:
            case StudyRow():
                changed.add(row.id)
            case TrialRow() if row in session.new or _is_shown(row):
                changed.add(row.study_id)
        study_id = row.id if isinstance(row, StudyRow) else getattr(row, "study_id", None)
        if isinstance(row, BaselineRow) or (isinstance(row, StudyRow) and row.experiment_id):
            # Any study may stand on this baseline, or be the one that this study follows.
            touched = session.info[_TOUCHED] = None
        elif touched is not None and study_id is not None:
            touched.add(study_id)


def _is_shown(row: TrialRow) -> bool:
    """Tell whether something has changed that a study's answer may show."""
    return any(
        attribute.key not in _UNSHOWN and attribute.history.has_changes()
        for attribute in inspect(row).attrs
    )
