"""Counts and times of everything, for who watches a server: few rows, however many trials.

Depends on: sqlalchemy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Float, and_, case, cast, func, or_, select
from sqlalchemy.orm import Session

from stillhouse_service.states import AttemptState, StageState, StudyState, TrialState
from stillhouse_service.tables import (
    AttemptRow,
    EventRow,
    MeasurementRow,
    StageRow,
    StudyRow,
    TrialRow,
)

_LANES = ("compute", "device", "outside")
_FAILED = (TrialState.FAILED, TrialState.UNSUPPORTED)


class Waiting(NamedTuple):
    """What waits on a lane."""

    lane: str
    n: int
    since: datetime  # the longest of those that may be handed out


class Running(NamedTuple):
    """An attempt under way."""

    lane: str
    kind: str
    holder: str
    started_at: datetime


class Ended(NamedTuple):
    """Attempts that have ended alike: how many, and how long they took together."""

    lane: str
    kind: str
    outcome: AttemptState
    holder: str  # the device's id; empty elsewhere
    n: int
    total_s: float
    n_below: tuple[int, ...]  # those that took at most each bound, bound by bound


class Figures:
    """Aggregates over the whole store."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def studies(self) -> list[tuple[StudyState, int]]:
        """Count the studies in each state."""
        query = select(StudyRow.state, func.count()).group_by(StudyRow.state)
        return [(state, n) for state, n in self._session.execute(query)]

    def revisions(self) -> dict[str, int]:
        """Give each study's revision: it grows with whatever changes the study's trials."""
        query = select(StudyRow.id, StudyRow.revision)
        return {study_id: revision for study_id, revision in self._session.execute(query)}

    def trials(self, study_ids: Collection[str]) -> list[tuple[str, TrialState, str, int]]:
        """Count some studies' trials in each state, those that failed by their failure's class."""
        failure_class = TrialRow.failure["class"].as_string()
        query = select(TrialRow.study_id, TrialRow.state, func.count())
        failed = select(TrialRow.study_id, TrialRow.state, failure_class, func.count())
        found = self._session.execute(
            query.where(TrialRow.study_id.in_(study_ids), TrialRow.state.not_in(_FAILED)).group_by(
                TrialRow.study_id, TrialRow.state
            )
        )
        causes = self._session.execute(
            failed.where(TrialRow.study_id.in_(study_ids), TrialRow.state.in_(_FAILED)).group_by(
                TrialRow.study_id, TrialRow.state, failure_class
            )
        )
        return [(study_id, state, "", n) for study_id, state, n in found] + [
            (study_id, state, cause or "", n) for study_id, state, cause, n in causes
        ]

    def waiting(self, now: datetime) -> list[Waiting]:
        """Say for each lane how many stages may be handed out, and since when the first could.

        A stage that was taken back waits since then, not since it was made.
        """
        ready = (
            select(
                StageRow.lane.label("lane"),
                # The later of the two, in words that both databases know.
                func.max(AttemptRow.finished_at).label("back_at"),
                StageRow.available_at.label("available_at"),
            )
            .outerjoin(AttemptRow, AttemptRow.stage_id == StageRow.id)
            .where(
                StageRow.lane.in_(_LANES),  # all of them: so the index is used
                StageRow.state == StageState.WAITING,
                StageRow.available_at <= now,
            )
            .group_by(StageRow.id, StageRow.lane, StageRow.available_at)
            .subquery()
        )
        is_back = and_(ready.c.back_at.is_not(None), ready.c.back_at > ready.c.available_at)
        since = case((is_back, ready.c.back_at), else_=ready.c.available_at)
        query = select(ready.c.lane, func.count(), func.min(since)).group_by(ready.c.lane)
        return [Waiting(*row) for row in self._session.execute(query)]

    def running(self) -> list[Running]:
        """List the attempts under way."""
        query = (
            select(StageRow.lane, StageRow.kind, AttemptRow.holder, AttemptRow.started_at)
            .join(StageRow, StageRow.id == AttemptRow.stage_id)
            .where(AttemptRow.state == AttemptState.RUNNING)
        )
        return [Running(*row) for row in self._session.execute(query)]

    def last_event(self) -> int:
        """Number the last event; 0 when there is none."""
        return self._session.scalars(select(func.max(EventRow.id))).one() or 0

    def ended(self, bounds_s: Sequence[float]) -> list[Ended]:
        """Add up every attempt that has ended: one look at all of them.

        Args:
            bounds_s: Upper bounds, in seconds, to count the durations below.
        """
        took_s = self._took_s()
        holder = case((StageRow.lane == "device", AttemptRow.holder), else_="")
        below = [func.sum(case((took_s <= bound, 1), else_=0)) for bound in bounds_s]
        query = (
            select(
                StageRow.lane,
                StageRow.kind,
                AttemptRow.state,
                holder,
                func.count(),
                func.sum(took_s),
                *below,
            )
            .join(StageRow, StageRow.id == AttemptRow.stage_id)
            .where(AttemptRow.finished_at.is_not(None))
            .group_by(StageRow.lane, StageRow.kind, AttemptRow.state, holder)
        )
        return [
            Ended(lane, kind, outcome, holder, n, float(total_s), tuple(int(one) for one in counts))
            for lane, kind, outcome, holder, n, total_s, *counts in self._session.execute(query)
        ]

    def ended_since(
        self, event_id: int
    ) -> list[tuple[str, str, AttemptState, str, datetime, datetime]]:
        """List lane, kind, outcome, holder, start and end of what has ended since an event.

        An attempt ends once here: a late result of a lost one is not told again.
        """
        query = (
            select(
                StageRow.lane,
                StageRow.kind,
                EventRow.after,
                AttemptRow.holder,
                AttemptRow.started_at,
                AttemptRow.finished_at,
            )
            .join(AttemptRow, AttemptRow.id == EventRow.subject)
            .join(StageRow, StageRow.id == AttemptRow.stage_id)
            .where(
                EventRow.id > event_id,
                EventRow.kind == "attempt",
                EventRow.before == AttemptState.RUNNING.value,
                AttemptRow.finished_at.is_not(None),
            )
        )
        return [
            (lane, kind, AttemptState(outcome), holder if lane == "device" else "", begun, ended)
            for lane, kind, outcome, holder, begun, ended in self._session.execute(query)
            if outcome is not None and ended is not None
        ]

    def noise(self, limit: int) -> list[tuple[str, float]]:
        """Give the device and the A/A ratio of the last measurements, last first."""
        ratio = MeasurementRow.result["aa_ratio"].as_float()
        query = (
            select(MeasurementRow.device_id, ratio).order_by(MeasurementRow.id.desc()).limit(limit)
        )
        return [(device, r) for device, r in self._session.execute(query) if r is not None]

    def _took_s(self) -> ColumnElement[float]:
        """Seconds from an attempt's start to its end; never less than none: a clock may be set."""
        if self._session.get_bind().dialect.name == "sqlite":
            days = func.julianday(AttemptRow.finished_at) - func.julianday(AttemptRow.started_at)
            seconds: ColumnElement[Any] = days * 86400.0
        else:
            seconds = func.extract("epoch", AttemptRow.finished_at - AttemptRow.started_at)
        took_s = cast(seconds, Float)
        return case((or_(took_s.is_(None), took_s < 0), 0.0), else_=took_s)
