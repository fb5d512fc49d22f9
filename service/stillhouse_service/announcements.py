"""What a commit tells: this server's own threads, and the other servers of one Postgres.

Depends on: sqlalchemy. On Postgres a commit is announced by NOTIFY, in the transaction itself, so
that who hears of it finds it. What was missed while the connection was lost is made up for by one
announcement of which nobody knows what it is about.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from sqlalchemy import Engine, bindparam, func, select
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from stillhouse_service.database import own_connection
from stillhouse_service.repositories.studies import REVISION

if TYPE_CHECKING:
    from stillhouse_service.store import Store

_log = logging.getLogger(__name__)
Topic = Literal["driver", "jobs", "webhooks", "tokens"]  # who wants to hear of a commit
_CHANNEL = "stillhouse"
_LONGEST = 7_000  # Postgres takes up to 8,000 bytes
_REST_S = 1.0  # before a lost connection is opened again; so often the thread looks up
_TELL = select(func.pg_notify(_CHANNEL, bindparam("told")))
_REVISE_AND_TELL = _TELL.add_cte(REVISION.cte("revision"))


@dataclass(frozen=True)
class Commit:
    """What has been committed.

    Attributes:
        topics: Who is to hear of it.
        moved: The studies that may have a next step (`UnitOfWork.moved`); none: any may have.
        changed: The studies of which a row was written; none: any may have changed.
    """

    topics: frozenset[Topic]
    moved: frozenset[str] | None = field(default_factory=frozenset)
    changed: frozenset[str] | None = field(default_factory=frozenset)

    @property
    def is_quiet(self) -> bool:
        """Whether nobody waits for it: that a device lives is looked up where it matters."""
        return not self.topics and self.moved == frozenset() and self.changed == frozenset()


ANYTHING = Commit(frozenset(get_args(Topic)), None, None)


def announce(
    session: Session, origin: str, now: datetime, commit: Commit, revised: Collection[str]
) -> None:
    """Tell the other servers, as soon as this transaction is committed.

    Args:
        session: The transaction.
        origin: Who tells it.
        now: The time that its rows are stamped with: it must not lie in anybody's future.
        commit: What it is about.
        revised: The studies whose revision grows, in the same statement.
    """
    head = [origin, now.isoformat(), sorted(commit.topics)]
    told = json.dumps([*head, _names(commit.moved), _names(commit.changed)])
    if len(told) > _LONGEST:
        told = json.dumps([*head, None, None])
    if revised:
        session.execute(_REVISE_AND_TELL, {"told": told, "revised": list(revised)})
    else:
        session.execute(_TELL, {"told": told})


def _names(studies: frozenset[str] | None) -> list[str] | None:
    return None if studies is None else sorted(studies)


class Announcements:
    """The thread that hears what others have committed to this Postgres."""

    def __init__(self, engine: Engine, store: Store) -> None:
        """Prepare to listen.

        Args:
            engine: The database's; on SQLite there is nobody to listen to.
            store: On it; told of what others commit, in this thread.
        """
        self._engine, self._store = engine, store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcements", daemon=True)

    def start(self) -> None:
        """Listen from now on."""
        if self._engine.dialect.name == "postgresql":
            self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * _REST_S)

    def _run(self) -> None:
        failures = (self._engine.dialect.loaded_dbapi.Error, OperationalError, InterfaceError)
        while not self._stop.is_set():
            try:
                self._listen()
            except failures as error:
                _log.warning("what other servers commit is not heard: %s", error)
            except Exception:
                # A bug in who is told must not make this server deaf.
                _log.exception("announcements: failed")
            self._stop.wait(_REST_S)

    def _listen(self) -> None:
        connection: Any = own_connection(self._engine)
        try:
            connection.execute(f"LISTEN {_CHANNEL}")
            self._store.heard(ANYTHING)  # whatever was committed before
            while not self._stop.is_set():
                for notice in connection.notifies(timeout=_REST_S):
                    self._take(notice.payload)
        finally:
            connection.close()

    def _take(self, told: str) -> None:
        origin, now, topics, moved, changed = json.loads(told)
        if origin == self._store.origin:
            return
        self._store.set_clock(datetime.fromisoformat(now))
        moved = None if moved is None else frozenset(moved)
        changed = None if changed is None else frozenset(changed)
        self._store.heard(Commit(frozenset(topics), moved, changed))
