"""The stages of the store and their attempts.

Depends on: sqlalchemy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session, aliased, undefer

from stillhouse_service.errors import NotFound
from stillhouse_service.states import AttemptState, StageState
from stillhouse_service.tables import AttemptRow, BaselineRow, StageRow, StudyRow, TrialRow

Lane = Literal["compute", "device", "outside"]
_OPEN = [StageState.WAITING, StageState.RUNNING]


# Put together once: they are asked for every job.
_BEST = aliased(TrialRow)
_REPORTED = (
    select(AttemptRow, StageRow, TrialRow, StudyRow, _BEST)
    .join(StageRow, StageRow.id == AttemptRow.stage_id)
    .outerjoin(TrialRow, TrialRow.id == StageRow.trial_id)
    .outerjoin(StudyRow, StudyRow.id == StageRow.study_id)
    .outerjoin(_BEST, _BEST.id == StudyRow.incumbent_id)
    .where(AttemptRow.id == bindparam("attempt_id"))
    .options(undefer(TrialRow.details))
)
_RUNNING_OF = (
    select(AttemptRow)
    .where(AttemptRow.stage_id == bindparam("stage_id"), AttemptRow.state == AttemptState.RUNNING)
    .order_by(AttemptRow.number)
)
_WAITING_FOR = (
    select(StageRow)
    .where(
        StageRow.lane == "device",
        StageRow.state == StageState.WAITING,
        StageRow.available_at <= bindparam("now"),
        StageRow.device.in_(bindparam("names", expanding=True)),
    )
    .order_by(StageRow.priority.desc(), StageRow.created_at, StageRow.id)
    .limit(bindparam("most"))
)
_SUBJECTS = (
    select(
        select(func.count()).where(AttemptRow.stage_id == StageRow.id).scalar_subquery(),
        TrialRow,
        StudyRow,
        BaselineRow,
    )
    .select_from(StageRow)
    .outerjoin(TrialRow, TrialRow.id == StageRow.trial_id)
    .outerjoin(StudyRow, StudyRow.id == StageRow.study_id)
    .outerjoin(BaselineRow, BaselineRow.id == StudyRow.baseline_id)
    .where(StageRow.id == bindparam("stage_id"))
)


class Stages:
    """The stages of the store and their attempts."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, row: StageRow) -> None:
        """Add a stage."""
        self._session.add(row)
        self._session.flush()

    def add_attempt(self, row: AttemptRow) -> None:
        """Add an attempt; its stage is there already."""
        self._session.add(row)

    def stage(self, stage_id: str) -> StageRow:
        """Read a stage that is known to exist."""
        return self._session.get_one(StageRow, stage_id)

    def find(self, stage_id: str) -> StageRow | None:
        """Find a stage, if there is one."""
        return self._session.get(StageRow, stage_id)

    def begun_on(self, lane: Lane) -> list[datetime]:
        """List when the attempts of a lane that are under way began."""
        return [attempt.started_at for attempt in self.running_on(lane)]

    def attempt(self, attempt_id: str) -> AttemptRow:
        """Find an attempt.

        Raises:
            NotFound: There is none of this id.
        """
        row = self._session.get(AttemptRow, attempt_id)
        if row is None:
            raise NotFound(f"no lease {attempt_id}")
        return row

    def read_reported(self, attempt_id: str) -> None:
        """Read at once what a report of an attempt may touch; asked for by id, it then is at hand.

        For a transaction that writes: it keeps what it has read.
        """
        self._session.execute(_REPORTED, {"attempt_id": attempt_id}).all()

    def read_subjects(self, stage_id: str) -> int:
        """Read at once what a stage is about, as `read_reported` does; count its attempts."""
        n, *_ = self._session.execute(_SUBJECTS, {"stage_id": stage_id}).one()
        return int(n)

    def open_of_study(self, study_id: str) -> list[StageRow]:
        """List a study's stages, its trials' included, that wait or run."""
        query = select(StageRow).where(StageRow.study_id == study_id, StageRow.state.in_(_OPEN))
        return list(self._session.scalars(query.order_by(StageRow.created_at, StageRow.id)))

    def of_study(self, study_id: str, kind: str) -> list[StageRow]:
        """List the study's own stages of a kind (`check`, `final`), oldest first."""
        query = select(StageRow).where(StageRow.study_id == study_id, StageRow.kind == kind)
        return list(self._session.scalars(query.order_by(StageRow.created_at, StageRow.id)))

    def failed_of(self, trial_id: str) -> StageRow | None:
        """Find the stage in which a trial failed, if one of its stages did."""
        query = select(StageRow).where(
            StageRow.trial_id == trial_id, StageRow.state == StageState.FAILED
        )
        return self._session.scalars(query.limit(1)).first()

    def waiting(self, lane: Lane, now: datetime, limit: int) -> list[StageRow]:
        """List the stages of a lane that may be handed out, by priority, then oldest first."""
        query = (
            select(StageRow)
            .where(
                StageRow.lane == lane,
                StageRow.state == StageState.WAITING,
                StageRow.available_at <= now,
            )
            .order_by(StageRow.priority.desc(), StageRow.created_at, StageRow.id)
        )
        return list(self._session.scalars(query.limit(limit)))

    def waiting_of_studies(self) -> dict[str, dict[str, str | None]]:
        """Give for each study with waiting stages their lanes, and a device of each."""
        query = select(StageRow.study_id, StageRow.lane, StageRow.device).where(
            StageRow.lane.in_(("compute", "device")),
            StageRow.state == StageState.WAITING,
            StageRow.study_id.is_not(None),
        )
        found: dict[str, dict[str, str | None]] = {}
        # Of several on a lane the newest tells, as when a study is looked at by itself.
        for study_id, lane, device in self._session.execute(
            query.order_by(StageRow.created_at, StageRow.id)
        ):
            assert study_id is not None  # asked for so
            found.setdefault(study_id, {})[lane] = device
        return found

    def to_ask(self, study_id: str, now: datetime, limit: int) -> list[StageRow]:
        """List the stages of a study that whoever asks may have, by number of their trials."""
        query = (
            select(StageRow)
            .join(TrialRow, TrialRow.id == StageRow.trial_id)
            .where(
                StageRow.study_id == study_id,
                StageRow.lane == "outside",
                StageRow.state == StageState.WAITING,
                StageRow.available_at <= now,
            )
            .order_by(TrialRow.number)
        )
        return list(self._session.scalars(query.limit(limit)))

    def asked_of(self, trial_id: str) -> list[AttemptRow]:
        """List how often a trial was given to somebody who asked, first time first."""
        query = (
            select(AttemptRow)
            .join(StageRow, StageRow.id == AttemptRow.stage_id)
            .where(StageRow.trial_id == trial_id, StageRow.lane == "outside")
            .order_by(AttemptRow.number)
        )
        return list(self._session.scalars(query))

    def next_for_device(self, names: Sequence[str], now: datetime) -> StageRow | None:
        """Find the first device job, by priority and age, for a device known by `names`."""
        found = self._waiting_for(names, now, 1)
        return found[0] if found else None

    def waiting_for(self, names: Collection[str], now: datetime, limit: int) -> list[StageRow]:
        """List device jobs for devices known by any of `names`, by priority, then oldest first."""
        return self._waiting_for(names, now, limit)

    def _waiting_for(self, names: Collection[str], now: datetime, limit: int) -> list[StageRow]:
        asked = {"names": list(names), "now": now, "most": limit}
        return list(self._session.scalars(_WAITING_FOR, asked))

    def holders(self, names: Collection[str]) -> set[str]:
        """Name those of some devices that hold an attempt under way."""
        query = select(AttemptRow.holder).where(
            AttemptRow.holder.in_(names), AttemptRow.state == AttemptState.RUNNING
        )
        return set(self._session.scalars(query))

    def n_attempts_of(self, stage_ids: Collection[str]) -> dict[str, int]:
        """Count the attempts of some stages, whatever became of them; none is left out."""
        query = (
            select(AttemptRow.stage_id, func.count())
            .where(AttemptRow.stage_id.in_(stage_ids))
            .group_by(AttemptRow.stage_id)
        )
        counted = {stage_id: n for stage_id, n in self._session.execute(query)}
        return {stage_id: counted.get(stage_id, 0) for stage_id in stage_ids}

    def n_waiting_for_devices(self, now: datetime) -> dict[str, int]:
        """Count the device jobs that may be handed out, by the name of the device they need."""
        query = (
            select(StageRow.device, func.count())
            .where(
                StageRow.lane == "device",
                StageRow.state == StageState.WAITING,
                StageRow.available_at <= now,
            )
            .group_by(StageRow.device)
        )
        return {name: n for name, n in self._session.execute(query) if name is not None}

    def running_of(self, stage_id: str) -> list[AttemptRow]:
        """List the attempts of a stage that are under way."""
        return list(self._session.scalars(_RUNNING_OF, {"stage_id": stage_id}))

    def running_on(self, lane: Lane) -> list[AttemptRow]:
        """List the attempts of a lane that are under way."""
        query = (
            select(AttemptRow)
            .join(StageRow, StageRow.id == AttemptRow.stage_id)
            .where(AttemptRow.state == AttemptState.RUNNING, StageRow.lane == lane)
            .order_by(AttemptRow.started_at, AttemptRow.id)
        )
        return list(self._session.scalars(query))

    def held_by(self, holder: str) -> list[AttemptRow]:
        """List the attempts under way that a device holds."""
        query = select(AttemptRow).where(
            AttemptRow.holder == holder, AttemptRow.state == AttemptState.RUNNING
        )
        return list(self._session.scalars(query))

    def leased(self) -> list[AttemptRow]:
        """List the attempts under way that end by themselves, unless their holder asks for more."""
        query = select(AttemptRow).where(
            AttemptRow.state == AttemptState.RUNNING, AttemptRow.expires_at.is_not(None)
        )
        return list(self._session.scalars(query))

    def resting(self, now: datetime) -> list[StageRow]:
        """List the stages that wait for a time to come before they are handed out."""
        query = select(StageRow).where(
            StageRow.state == StageState.WAITING, StageRow.available_at > now
        )
        return list(self._session.scalars(query))

    def expired(self, now: datetime) -> list[AttemptRow]:
        """List the attempts under way whose lease has run out."""
        query = select(AttemptRow).where(
            AttemptRow.state == AttemptState.RUNNING, AttemptRow.expires_at < now
        )
        return list(self._session.scalars(query))

    def n_attempts(self, stage_id: str) -> int:
        """Count the attempts of a stage, whatever became of them."""
        query = select(func.count()).where(AttemptRow.stage_id == stage_id)
        return self._session.scalars(query).one()

    def mean_s(self, study_id: str, kind: str) -> float:
        """Give how long a study's stages of a kind took when they went well; 0 without any."""
        query = (
            select(AttemptRow.started_at, AttemptRow.finished_at)
            .join(StageRow, StageRow.id == AttemptRow.stage_id)
            .where(
                StageRow.study_id == study_id,
                StageRow.kind == kind,
                AttemptRow.state == AttemptState.SUCCEEDED,
            )
            .order_by(AttemptRow.started_at.desc())
        )
        spans = self._session.execute(query.limit(20))
        seconds = [(end - start).total_seconds() for start, end in spans if end is not None]
        return sum(seconds) / len(seconds) if seconds else 0.0

    def compute_s(self, study_id: str) -> float:
        """Add up the seconds that a study's trials have had on compute, lost attempts included."""
        query = (
            select(AttemptRow.started_at, AttemptRow.finished_at)
            .join(StageRow, StageRow.id == AttemptRow.stage_id)
            .where(StageRow.study_id == study_id, StageRow.lane == "compute")
        )
        spans = self._session.execute(query)
        return sum((end - start).total_seconds() for start, end in spans if end is not None)
