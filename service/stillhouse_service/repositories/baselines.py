"""The baselines of the store.

Depends on: sqlalchemy.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from stillhouse_service.errors import NotFound
from stillhouse_service.repositories.pages import Cursor, older_than
from stillhouse_service.states import BaselineState
from stillhouse_service.tables import BaselineRow, StudyRow


class Baselines:
    """The baselines of the store."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, row: BaselineRow) -> None:
        """Add a baseline."""
        self._session.add(row)
        self._session.flush()

    def find(self, baseline_id: str) -> BaselineRow | None:
        """Find a baseline, if there is one."""
        return self._session.get(BaselineRow, baseline_id)

    def named(self, baseline_id: str) -> BaselineRow:
        """Find a baseline.

        Raises:
            NotFound: There is none of this id.
        """
        row = self.find(baseline_id)
        if row is None:
            raise NotFound(f"no baseline {baseline_id}")
        return row

    def in_state(self, state: BaselineState) -> list[BaselineRow]:
        """List the baselines of a state."""
        return list(self._session.scalars(select(BaselineRow).where(BaselineRow.state == state)))

    def of(self, study: StudyRow) -> BaselineRow:
        """Read the baseline of a study whose trials this server runs."""
        assert study.baseline_id is not None  # such a study is never without
        return self.named(study.baseline_id)

    def newest(self, limit: int, after: Cursor | None) -> list[BaselineRow]:
        """List baselines, newest first, from the one after `after`."""
        query = select(BaselineRow).order_by(BaselineRow.created_at.desc(), BaselineRow.id.desc())
        if after is not None:
            query = query.where(older_than(after, BaselineRow.created_at, BaselineRow.id))
        return list(self._session.scalars(query.limit(limit)))
