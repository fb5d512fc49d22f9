"""What a page draws of a study: so many rows and no more, however many trials there are.

Depends on: sqlalchemy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import func, literal_column, select
from sqlalchemy.orm import Session, load_only

from stillhouse_service.states import StageState, TrialState
from stillhouse_service.tables import (
    AttemptRow,
    EventRow,
    MeasurementRow,
    StageRow,
    TrialRow,
)

_FAILED = (TrialState.FAILED, TrialState.UNSUPPORTED)


class Overview:
    """Bounded looks at a study and at the lanes."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def incumbents_of(self, study_id: str, limit: int) -> list[str]:
        """List the ids of the last trials that took the incumbent's place, last first."""
        # Spelled out, so that the database knows that its index of such events is meant.
        is_incumbent = EventRow.kind == literal_column("'incumbent'")
        query = (
            select(EventRow.after)
            .where(EventRow.study_id == study_id, is_incumbent)
            .order_by(EventRow.id.desc())
            .limit(limit)
        )
        return [one for one in self._session.scalars(query) if one is not None]

    def last_event_of(self, study_id: str) -> int:
        """Number the last event of a study; 0 when there is none."""
        query = select(func.max(EventRow.id)).where(EventRow.study_id == study_id)
        return self._session.scalars(query).one() or 0

    def points(
        self, study_id: str, numbers: Collection[int], ids: Collection[str]
    ) -> list[TrialRow]:
        """List the trials of these numbers or ids, by number: what is plotted of them."""
        found: dict[str, TrialRow] = {}
        shown = load_only(
            TrialRow.number,
            TrialRow.state,
            TrialRow.config,
            TrialRow.origin,
            TrialRow.metrics,
            TrialRow.is_feasible,
        )
        for wanted in (TrialRow.number.in_(numbers), TrialRow.id.in_(ids)):
            query = select(TrialRow).options(shown).where(TrialRow.study_id == study_id, wanted)
            found |= {row.id: row for row in self._session.scalars(query)}
        return sorted(found.values(), key=lambda row: row.number)

    def failed_of(self, study_id: str, limit: int) -> list[TrialRow]:
        """List the last trials that failed, last first: number and failure."""
        query = (
            select(TrialRow)
            .options(load_only(TrialRow.number, TrialRow.state, TrialRow.failure))
            .where(TrialRow.study_id == study_id, TrialRow.state.in_(_FAILED))
            .order_by(TrialRow.number.desc())
        )
        return list(self._session.scalars(query.limit(limit)))

    def waiting_by_device(self) -> dict[str, int]:
        """Count the device jobs that wait, by the kind, name or id of the device they ask for."""
        query = (
            select(StageRow.device, func.count())
            .where(StageRow.lane == "device", StageRow.state == StageState.WAITING)
            .group_by(StageRow.device)
        )
        return {device: n for device, n in self._session.execute(query) if device is not None}

    def n_waiting_on(self, lane: str) -> int:
        """Count the stages of a lane that wait."""
        query = select(func.count()).where(
            StageRow.lane == lane, StageRow.state == StageState.WAITING
        )
        return self._session.scalars(query).one()

    def last_attempts_of(self, holder: str, limit: int) -> list[AttemptRow]:
        """List the last attempts that a device had, last first."""
        query = (
            select(AttemptRow)
            .where(AttemptRow.holder == holder)
            .order_by(AttemptRow.started_at.desc())
        )
        return list(self._session.scalars(query.limit(limit)))

    def last_measurements(self, limit: int) -> Sequence[MeasurementRow]:
        """List the last measurements of all devices, last first."""
        query = select(MeasurementRow).order_by(MeasurementRow.id.desc()).limit(limit)
        return list(self._session.scalars(query))
