"""Which of several servers of one database drives its studies: a lease, fenced by its epoch.

Depends on: the store. The row `driver` says whose turn it is and until when, by the database's
clock; its epoch grows with every change of hands. Whoever drives looks, in each transaction that
writes, whether the epoch is still its own: writers take turns, so that one who was frozen or cut
off for however long can write nothing once another has begun.

A lease that is over may be taken. That a server is gone is known earlier: it holds an advisory
lock, named by its epoch, on a connection of its own, which ends with the process, however that
ends. On SQLite the lock of server.py keeps a second server out, and who comes leads at once.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from stillhouse_service.database import own_connection
from stillhouse_service.errors import Deposed
from stillhouse_service.store import Store, UnitOfWork

_log = logging.getLogger(__name__)
_LOCK = 0x5711_8060  # first half of the advisory lock's key; the epoch is the other
_GONE_S = 2.0  # so long a lock must be free: a leader takes it again when Postgres has restarted
_RENEWALS = 5  # in the time of one lease, at least
_RENEWED_S = 1.0  # well within `_GONE_S`
_IS_HELD = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
    " AND classid = %s::bigint::oid AND objid = %s::bigint::oid"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)
_STANDING = (
    "SELECT clock_timestamp(), epoch, coalesce(until < clock_timestamp(), true)"
    " FROM (SELECT 1) AS one LEFT JOIN driver ON driver.id = 1"
)
_HOLD = "SELECT pg_try_advisory_lock(%s::int, %s::int)"
_RENEW = (
    "UPDATE driver SET until = clock_timestamp() + make_interval(secs => %s)"
    " WHERE id = 1 AND epoch = %s RETURNING clock_timestamp()"
)
_GIVE_UP = "UPDATE driver SET until = NULL WHERE id = 1 AND epoch = %s RETURNING epoch"


class Leadership:
    """One server's part in who drives."""

    def __init__(self, engine: Engine, store: Store, lease_s: float) -> None:
        """Prepare to lead.

        Args:
            engine: The database's.
            store: On it.
            lease_s: How long a leader that shows no life is waited for.
        """
        self._engine, self._store, self._lease_s = engine, store, lease_s
        self._name = f"{socket.gethostname()}, process {os.getpid()}"
        self._is_shared = engine.dialect.name == "postgresql"
        self._epoch = 0  # ours; 0: another leads, or nobody
        self._free_since: tuple[int, float] | None = None  # an epoch, and when its lock was free
        self._has_looked = False
        self._has_lock = False  # that of our epoch, on the connection in use
        self._connection: Any = None
        self._lock = threading.Lock()  # of the connection
        self._epoch_lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leadership", daemon=True)

    @property
    def leads(self) -> bool:
        """Whether this server drives, as far as it knows; what it writes is checked anyway."""
        return self._epoch != 0

    def fence(self, work: UnitOfWork) -> None:
        """Let a transaction go on only while this server leads; for `Store.fenced`.

        Raises:
            Deposed: Another has taken the lead.
        """
        epoch = self._epoch
        if epoch == 0 or work.drivers.epoch() != epoch:
            self._lost(epoch)
            raise Deposed("another server drives")

    def take(self) -> bool:
        """Take the lead if nobody has it; tell whether this server leads.

        Raises:
            OperationalError: The database does not answer.
        """
        if self.leads:
            return True
        if not self._is_shared:
            with self._store.begin() as work:
                row = work.drivers.row()
                row.epoch, row.holder, row.until = row.epoch + 1, self._name, None
                epoch = row.epoch
            self._epoch = epoch
            return True
        with self._lock:
            vacant = self._vacant()
            return vacant is not None and self._take_from(vacant)

    def start(self) -> None:
        """Keep the lead from now on, whenever this server has it."""
        if self._is_shared:
            self._thread.start()

    def stop(self) -> None:
        """Give the lead up: the next one need not wait."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._lease_s)
        epoch, self._epoch = self._epoch, 0
        if not self._is_shared:
            return
        with self._lock, suppress(OperationalError, InterfaceError):
            if epoch != 0:
                self._ask(_GIVE_UP, epoch)
        self._drop()

    def _vacant(self) -> int | None:
        """Find out whether nobody leads; give the epoch of who led last."""
        now, found, is_over = self._ask(_STANDING)
        self._store.set_clock(now)
        epoch = int(found or 0)
        if is_over:
            return epoch
        is_first, self._has_looked = not self._has_looked, True
        if self._is_held(epoch):
            self._free_since = None
            return None
        if is_first:
            return epoch  # as when a server is started again: nobody is waited for
        if self._free_since is None or self._free_since[0] != epoch:
            self._free_since = epoch, time.monotonic()
        return epoch if time.monotonic() - self._free_since[1] >= _GONE_S else None

    def _take_from(self, epoch: int) -> bool:
        """Take the lead from the holder of an epoch, unless somebody was faster."""
        try:
            with self._store.begin() as work:
                row = work.drivers.row()
                is_renewed = row.until is not None and row.until > work.drivers.in_s(0.0)
                if row.epoch != epoch or (is_renewed and self._is_held(epoch)):
                    return False
                # Before the row names it: nobody may find the lock of a leader free.
                if not self._ask(_HOLD, _LOCK, epoch + 1)[0]:
                    return False
                before = row.holder
                row.epoch, row.holder = epoch + 1, self._name
                row.until = work.drivers.in_s(self._lease_s)
        except BaseException:
            self._drop()  # and the lock with it
            raise
        self._has_lock = True
        with self._epoch_lock:
            self._epoch = epoch + 1
        _log.info("this server drives from now on (epoch %d; before: %s)", epoch + 1, before)
        return True

    def _lost(self, epoch: int) -> None:
        with self._epoch_lock:
            if self._epoch == epoch:
                self._epoch = 0

    def _run(self) -> None:
        while not self._stop.wait(min(_RENEWED_S, self._lease_s / _RENEWALS)):
            try:
                self._renew()
            except (OperationalError, InterfaceError) as error:
                _log.warning("the lead could not be renewed: %s", error.orig)
            except Exception:
                # A bug must not let the lead lapse for good.
                _log.exception("the lead could not be renewed")

    def _renew(self) -> None:
        """Show that this server lives, if it leads.

        Raises:
            OperationalError: The database does not answer.
        """
        epoch = self._epoch
        if epoch == 0:
            return
        with self._lock:
            renewed = self._ask(_RENEW, self._lease_s, epoch)
            if renewed is not None and not self._has_lock:
                self._has_lock = bool(self._ask(_HOLD, _LOCK, epoch)[0])
        if renewed is None:
            self._lost(epoch)
        else:
            self._store.set_clock(renewed[0])

    def _is_held(self, epoch: int) -> bool:
        return bool(self._ask(_IS_HELD, _LOCK, epoch)[0])

    def _ask(self, question: str, *values: Any) -> Any:
        """Ask on the connection of our own, which is opened when it is wanted.

        Raises:
            OperationalError: The database does not answer.
        """
        try:
            if self._connection is None:
                self._connection = own_connection(self._engine)
                # It went with the connection before, which Postgres may not have noticed yet.
                self._has_lock = False
            return self._connection.execute(question, values).fetchone()
        except self._engine.dialect.loaded_dbapi.Error as error:
            self._drop()
            raise OperationalError(question, values, error) from error

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
