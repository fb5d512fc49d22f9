"""A clock that is set while the server runs: what was to happen in a while still does.

Depends on: the store. Every time stamp is the wall clock's, for people; how long a lease or a
budget lasts must not change because somebody sets that clock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from stillhouse_service.store import Store, UnitOfWork

_log = logging.getLogger(__name__)
_LEAST_JUMP = timedelta(seconds=5)  # less is a clock that is steered, or a process that slept


class ClockWatch:
    """Compares the wall clock with one that nobody sets."""

    def __init__(self, store: Store, steady: Callable[[], float] = time.monotonic) -> None:
        self._store, self._steady = store, steady
        self._last: tuple[datetime, float] | None = None

    def look(self) -> timedelta | None:
        """Find out whether the clock was set since the last look, and put right what depends on it.

        Returns:
            By how much it was set forwards; none: it was not.
        """
        with self._store.read() as view:
            now = view.now
        steady_s = self._steady()
        last, self._last = self._last, (now, steady_s)
        if last is None:
            self._from_the_future()
            return None
        jump = (now - last[0]) - timedelta(seconds=steady_s - last[1])
        if abs(jump) < _LEAST_JUMP:
            return None
        _log.warning("the clock was set by %+.0f s; leases and budgets go on", jump.total_seconds())
        try:
            with self._store.begin("server") as work:
                _shift(work, jump)
                work.audit("server", "clock", reason=f"set by {jump.total_seconds():+.0f} s")
        except BaseException:
            self._last = last  # it is still to be done
            raise
        return jump

    def _from_the_future(self) -> None:
        """After a start: leases that begin later than now lasted as long as they were to last."""
        with self._store.read() as view:
            is_any = any(one.started_at > view.now for one in view.stages.leased())
        if not is_any:
            return
        with self._store.begin("server") as work:
            for attempt in work.stages.leased():
                if attempt.started_at > work.now and attempt.expires_at is not None:
                    attempt.expires_at -= attempt.started_at - work.now


def _shift(work: UnitOfWork, jump: timedelta) -> None:
    """Move by `jump` whatever is to happen at a time, or is counted from one."""
    for attempt in work.stages.leased():
        attempt.started_at += jump
        if attempt.expires_at is not None:
            attempt.expires_at += jump
    for stage in work.stages.resting(min(work.now, work.now - jump)):
        stage.available_at += jump
    for study in work.studies.timed():
        if study.started_at is not None:
            study.started_at += jump
    for delivery in work.webhooks.waiting():
        delivery.next_at += jump
