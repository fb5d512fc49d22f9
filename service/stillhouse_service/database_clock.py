"""The database's clock: one for all servers of a Postgres.

Depends on: the standard library.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from stillhouse_service.ids import utc_now

# What the database tells is a moment old when it is heard. A time that would set this clock back
# by no more than that is left out: what was stamped with a time must not lie in the future.
_HEARD_LATE = timedelta(seconds=0.5)


class DatabaseClock:
    """Goes on from the last time that the database told, by a clock that nobody sets.

    Servers on several machines stamp rows that the others judge by: a lease that one has given
    ends by the clock of another. Until the database has told its time, it is this machine's.
    """

    def __init__(self) -> None:
        self._told: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        """The time now."""
        told = self._told
        if told is None:
            return utc_now()
        return told[0] + timedelta(seconds=time.monotonic() - told[1])

    def set(self, now: datetime) -> None:
        """Take a time that the database has told just now."""
        at_s = time.monotonic()
        told = self._told
        if told is not None:
            ahead = told[0] + timedelta(seconds=at_s - told[1]) - now
            if timedelta(0) <= ahead <= _HEARD_LATE:
                return
        self._told = now, at_s
