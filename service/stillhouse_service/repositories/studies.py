"""The studies of the store.

Depends on: sqlalchemy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session, aliased

from stillhouse_service.errors import NotFound
from stillhouse_service.repositories.filters import StudyFilter
from stillhouse_service.repositories.pages import Cursor, older_than
from stillhouse_service.states import StudyState
from stillhouse_service.tables import BaselineRow, ExperimentRow, StudyRow

# Asked all the time, so put together once: that takes longer than to ask.
_FOLLOWING = aliased(StudyRow)
_VERSION = (
    select(StudyRow.revision, func.count(_FOLLOWING.id), func.sum(_FOLLOWING.revision))
    .outerjoin(ExperimentRow, ExperimentRow.subject_id == StudyRow.id)
    .outerjoin(_FOLLOWING, _FOLLOWING.experiment_id == ExperimentRow.id)
    .where(StudyRow.id == bindparam("study_id"))
    .group_by(StudyRow.revision)
)
_WITH_BASELINE = (
    select(StudyRow, BaselineRow)
    .outerjoin(BaselineRow, BaselineRow.id == StudyRow.baseline_id)
    .where(StudyRow.id == bindparam("study_id"))
)
# Lets who polls the studies `revised` see that something has changed.
REVISION = (
    update(StudyRow)
    .where(StudyRow.id.in_(bindparam("revised", expanding=True)))
    .values(revision=StudyRow.revision + 1)
    .execution_options(synchronize_session=False)
)


class Studies:
    """The studies of the store."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, row: StudyRow) -> None:
        """Add a study."""
        self._session.add(row)
        self._session.flush()

    def find(self, study_id: str) -> StudyRow | None:
        """Find a study, if there is one."""
        return self._session.get(StudyRow, study_id)

    def named(self, study_id: str) -> StudyRow:
        """Find a study.

        Raises:
            NotFound: There is none of this id.
        """
        row = self.find(study_id)
        if row is None:
            raise NotFound(f"no study {study_id}")
        return row

    def with_baseline(self, study_id: str) -> tuple[StudyRow, BaselineRow | None]:
        """Find a study and the baseline that it compresses; none: its trials are run outside.

        Raises:
            NotFound: There is none of this id.
        """
        found = self._session.execute(_WITH_BASELINE, {"study_id": study_id}).one_or_none()
        if found is None:
            raise NotFound(f"no study {study_id}")
        study, baseline = found
        return study, baseline

    def revise(self, study_ids: Collection[str]) -> None:
        """Let who polls these studies see that something has changed."""
        self._session.execute(REVISION, {"revised": list(study_ids)})

    def version_of(self, study_id: str) -> str:
        """Name what a study's answer is made of: the same name, the same answer.

        It is made of the study, its trials, and what follows from it (its finalisation).

        Raises:
            NotFound: There is none of this id.
        """
        found = self._session.execute(_VERSION, {"study_id": study_id}).one_or_none()
        if found is None:
            raise NotFound(f"no study {study_id}")
        revision, n_following, following_revision = found
        return f"{revision}.{n_following}.{following_revision or 0}"

    def newest(self, limit: int, after: Cursor | None) -> list[StudyRow]:
        """List studies, newest first, from the one after `after`."""
        query = select(StudyRow).order_by(StudyRow.created_at.desc(), StudyRow.id.desc())
        if after is not None:
            query = query.where(older_than(after, StudyRow.created_at, StudyRow.id))
        return list(self._session.scalars(query.limit(limit)))

    def listed(self, wanted: StudyFilter, limit: int, token: str | None) -> list[StudyRow]:
        """List the studies of a filter's page.

        Raises:
            SpecRejected: The token is not of such a list.
        """
        return list(self._session.scalars(wanted.page(limit, token)))

    def timed(self) -> list[StudyRow]:
        """List the studies that go on and may take so long only."""
        query = select(StudyRow).where(StudyRow.state.in_([StudyState.RUNNING, StudyState.PAUSED]))
        return [one for one in self._session.scalars(query) if one.spec["budget"].get("wall_s")]

    def ids_in(self, states: Sequence[StudyState]) -> list[str]:
        """Name the studies in any of `states`, oldest first."""
        query = select(StudyRow.id).where(StudyRow.state.in_(states))
        return list(self._session.scalars(query.order_by(StudyRow.created_at, StudyRow.id)))

    def standing_in(
        self, states: Sequence[StudyState]
    ) -> list[tuple[str, StudyState, str | None, str | None]]:
        """List id, state, reason and device of the studies in any of `states`."""
        query = select(
            StudyRow.id, StudyRow.state, StudyRow.reason, StudyRow.spec["device"].as_string()
        )
        rows = self._session.execute(query.where(StudyRow.state.in_(states)))
        return [(id, state, reason, device) for id, state, reason, device in rows]
