"""What a page draws of a study: so many rows and no more, however many trials there are.

Depends on: sqlalchemy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, func, literal_column, select
from sqlalchemy.orm import Session, load_only

from stillhouse_service.states import StageState, TrialState, is_final
from stillhouse_service.tables import (
    AttemptRow,
    EventRow,
    MeasurementRow,
    StageRow,
    TrialRow,
)

_FAILED = (TrialState.FAILED, TrialState.UNSUPPORTED)
_OPEN = [state for state in TrialState if not is_final(state)]


class PointRow(NamedTuple):
    """What is plotted of a trial."""

    id: str
    number: int
    state: TrialState
    origin: str
    metrics: dict[str, Any] | None
    is_feasible: bool | None


_POINT = (
    TrialRow.id,
    TrialRow.number,
    TrialRow.state,
    TrialRow.origin,
    TrialRow.metrics,
    TrialRow.is_feasible,
)


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
    ) -> list[PointRow]:
        """List the trials of these numbers, and those of these ids, by number."""
        found: dict[str, PointRow] = {}
        # An id is enough: with the study's beside it, SQLite would walk through all of its trials.
        by_number = and_(TrialRow.study_id == study_id, TrialRow.number.in_(numbers))
        for wanted in (by_number, TrialRow.id.in_(ids)):
            for row in self._session.execute(select(*_POINT).where(wanted)):
                found[row[0]] = PointRow(*row)
        return sorted(found.values(), key=lambda row: row.number)

    def configs_of(self, ids: Collection[str]) -> dict[str, dict[str, Any]]:
        """Read the configs of some trials, by their ids."""
        query = select(TrialRow.id, TrialRow.config).where(TrialRow.id.in_(ids))
        return {id: config for id, config in self._session.execute(query)}

    def failed_of(self, study_id: str, limit: int, n_failed: int) -> list[TrialRow]:
        """List the last trials that failed, last first: number and failure.

        Args:
            study_id: The study.
            limit: At most so many.
            n_failed: So many there are: a few are found by their state, many by their number.
        """
        by_number = TrialRow.number if n_failed > 3 * limit else TrialRow.number + 0
        query = (
            select(TrialRow)
            .options(load_only(TrialRow.number, TrialRow.state, TrialRow.failure))
            .where(TrialRow.study_id == study_id, TrialRow.state.in_(_FAILED))
            .order_by(by_number.desc())
        )
        return list(self._session.scalars(query.limit(limit)))

    def open_of(self, study_id: str, limit: int) -> list[TrialRow]:
        """List trials that still have a way to go, by number; found by their state."""
        query = (
            select(TrialRow)
            .where(TrialRow.study_id == study_id, TrialRow.state.in_(_OPEN))
            .order_by(TrialRow.number + 0)
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
