"""The row that says who drives.

Depends on: sqlalchemy.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from stillhouse_service.tables import DriverRow

_ONLY = 1


class Drivers:
    """The row that says who drives; made when it is first wanted."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def epoch(self) -> int:
        """Read how often the lead has changed hands; 0: nobody has ever led."""
        query = select(DriverRow.epoch).where(DriverRow.id == _ONLY)
        return self._session.scalars(query).first() or 0

    def row(self) -> DriverRow:
        """Find the row, and keep those from it who would change it, until the transaction ends."""
        query = select(DriverRow).where(DriverRow.id == _ONLY).with_for_update()
        found = self._session.scalars(query).first()
        if found is None:
            found = DriverRow(
                id=_ONLY,
                epoch=0,
                holder=None,
                until=None,
                installation=secrets.token_hex(16),
                is_store_marked=False,
            )
            self._session.add(found)
            self._session.flush()
        return found

    def in_s(self, seconds: float) -> datetime:
        """Read the database's own clock, and add to it."""
        now: datetime = self._session.scalars(select(func.clock_timestamp())).one()
        return now + timedelta(seconds=seconds)
