"""The trials of the store.

Depends on: sqlalchemy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, func, or_, select
from sqlalchemy.orm import Session, load_only, undefer

from stillhouse_service.errors import NotFound
from stillhouse_service.repositories.filters import TrialFilter
from stillhouse_service.states import TrialState, is_final
from stillhouse_service.tables import MeasurementRow, StageRow, TrialRow

_OPEN = [state for state in TrialState if not is_final(state)]
# Trials that were not run by this study: of a file (`imported`), of another study (`foreign`), with
# the result of a trial that comes to the same (`twin`).
IMPORTED, FOREIGN, TWIN = "imported", "foreign", "twin"
BROUGHT = (IMPORTED, FOREIGN, TWIN)
# A config that goes on to the next rung has been counted. All of it is in the index of the counts.
_IS_STARTED = and_(
    TrialRow.origin.not_in(BROUGHT), or_(TrialRow.rung.is_(None), TrialRow.rung == 0)
)
# What the optimizer is told; the rest is read when it is asked for, a trial at a time.
_LEARNED = load_only(
    TrialRow.number,
    TrialRow.state,
    TrialRow.config,
    TrialRow.origin,
    TrialRow.metrics,
    TrialRow.failure,
    TrialRow.progress,
    TrialRow.rung,
    TrialRow.promoted_from,
)
_TOLD = [TrialState.COMPLETE, TrialState.FAILED, TrialState.UNSUPPORTED, TrialState.STOPPED]
# Asked for every proposal, so put together once.
_STANDING = select(
    func.count(),
    func.count().filter(_IS_STARTED),
    func.count().filter(TrialRow.state.in_(_OPEN)),
    select(StageRow.id)
    .where(StageRow.study_id == bindparam("of_study"), StageRow.kind == bindparam("of_kind"))
    .exists(),
).where(TrialRow.study_id == bindparam("of_study"))
_N_OF = select(func.count()).where(TrialRow.study_id == bindparam("of_study"))
_BEGUN = (
    select(TrialRow)
    .options(_LEARNED)
    .where(TrialRow.study_id == bindparam("of_study"), TrialRow.state.in_([*_OPEN, *_TOLD]))
    .order_by(TrialRow.number)
)


class Trials:
    """The trials of the store."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, row: TrialRow) -> None:
        """Add a trial."""
        self._session.add(row)
        self._session.flush()

    def add_all(self, rows: Sequence[TrialRow]) -> None:
        """Add many trials at once."""
        self._session.add_all(rows)
        self._session.flush()

    def find(self, trial_id: str) -> TrialRow | None:
        """Find a trial, if there is one."""
        return self._session.get(TrialRow, trial_id)

    def some(self, trial_ids: Collection[str]) -> list[TrialRow]:
        """Read trials by their ids; those that are not there are left out."""
        return list(self._session.scalars(select(TrialRow).where(TrialRow.id.in_(trial_ids))))

    def named(self, trial_id: str) -> TrialRow:
        """Find a trial.

        Raises:
            NotFound: There is none of this id.
        """
        row = self.find(trial_id)
        if row is None:
            raise NotFound(f"no trial {trial_id}")
        return row

    def detailed(self, trial_id: str) -> TrialRow:
        """Find a trial, its details read as well.

        Raises:
            NotFound: There is none of this id.
        """
        row = self._session.get(TrialRow, trial_id, options=[undefer(TrialRow.details)])
        if row is None:
            raise NotFound(f"no trial {trial_id}")
        return row

    def page(self, study_id: str, limit: int, after: int | None) -> list[TrialRow]:
        """List a study's trials by number, from the one after number `after`."""
        query = select(TrialRow).where(TrialRow.study_id == study_id).order_by(TrialRow.number)
        if after is not None:
            query = query.where(TrialRow.number > after)
        return list(self._session.scalars(query.limit(limit)))

    def listed(
        self, study_id: str, wanted: TrialFilter, limit: int, token: str | None
    ) -> list[TrialRow]:
        """List the trials of a filter's page.

        Raises:
            SpecRejected: The token is not of such a list.
        """
        return list(self._session.scalars(wanted.page(study_id, limit, token)))

    def open_of(self, study_id: str) -> list[TrialRow]:
        """List the trials that still have a way to go, by number."""
        query = (
            select(TrialRow)
            .where(TrialRow.study_id == study_id, TrialRow.state.in_(_OPEN))
            .order_by(TrialRow.number)
        )
        return list(self._session.scalars(query))

    def begun_of(self, study_id: str) -> tuple[list[TrialRow], list[TrialRow]]:
        """List the trials with a way to go, and those the optimizer learns from, each by number.

        What a proposal follows from is read of them.
        """
        rows = list(self._session.scalars(_BEGUN, {"of_study": study_id}))
        is_open = [row for row in rows if not is_final(row.state)]
        return is_open, [row for row in rows if is_final(row.state)]

    def own_of(self, study_id: str) -> list[TrialRow]:
        """List the trials with an end that belong to this study alone, by number."""
        return [trial for trial in self.told_of(study_id) if trial.origin != FOREIGN]

    def n_told_of(self, study_id: str) -> int:
        """Count the trials with an end that belong to this study alone."""
        query = select(func.count()).where(
            TrialRow.study_id == study_id,
            TrialRow.state.in_(_TOLD),
            TrialRow.origin != FOREIGN,
        )
        return self._session.scalars(query).one()

    def told_of(self, study_id: str) -> list[TrialRow]:
        """List the trials that the optimizer learns from, foreign ones too, by number."""
        query = (
            select(TrialRow)
            .where(TrialRow.study_id == study_id, TrialRow.state.in_(_TOLD))
            .order_by(TrialRow.number)
        )
        return list(self._session.scalars(query))

    def values_of(self, study_id: str) -> list[tuple[int, str, TrialState, dict[str, Any], Any]]:
        """List number, id, state, config and metrics of this study's own trials, by number."""
        query = (
            select(TrialRow.number, TrialRow.id, TrialRow.state, TrialRow.config, TrialRow.metrics)
            .where(TrialRow.study_id == study_id, TrialRow.origin != FOREIGN)
            .order_by(TrialRow.number)
        )
        rows = self._session.execute(query)
        return [(number, id, state, config, told) for number, id, state, config, told in rows]

    def details_of(self, study_id: str, member: str) -> list[tuple[int, dict[str, Any]]]:
        """List number and one member of the details of the study's own trials that have it."""
        # That member alone: details hold layers and training curves as well.
        query = (
            select(TrialRow.number, TrialRow.details[member])
            .where(TrialRow.study_id == study_id, TrialRow.origin.not_in((FOREIGN, TWIN)))
            .order_by(TrialRow.number)
        )
        return [(number, found) for number, found in self._session.execute(query) if found]

    def n_measured_of(self, study_id: str) -> int:
        """Count a study's measurements: a trial measured again has two."""
        query = select(func.count()).where(MeasurementRow.study_id == study_id)
        return self._session.scalars(query).one()

    def feasible_of(self, study_id: str) -> list[TrialRow]:
        """List the complete trials that meet the limits, by number.

        But not the twins of this study's own trials: theirs is the same result.
        """
        own = select(TrialRow.id).where(TrialRow.study_id == study_id)
        query = (
            select(TrialRow)
            .where(
                TrialRow.study_id == study_id,
                TrialRow.is_feasible.is_(True),
                or_(TrialRow.twin_of.is_(None), TrialRow.twin_of.not_in(own)),
            )
            .order_by(TrialRow.number)
        )
        return list(self._session.scalars(query))

    def built_like(self, study_id: str, built: str) -> list[TrialRow]:
        """List a study's trials of one built network, by number."""
        query = select(TrialRow).where(TrialRow.study_id == study_id, TrialRow.built == built)
        return list(self._session.scalars(query.order_by(TrialRow.number)))

    def timings_of(self, study_id: str, built: str, device_id: str) -> list[MeasurementRow]:
        """List what a device has measured of a study's trials of one built network, newest first.

        On the validation split, which times as any other; the final job's times are not compared
        with those of trials.
        """
        query = (
            select(MeasurementRow)
            .join(TrialRow, TrialRow.id == MeasurementRow.trial_id)
            .where(
                TrialRow.study_id == study_id,
                TrialRow.built == built,
                MeasurementRow.device_id == device_id,
                MeasurementRow.split == "validation",
            )
            .order_by(MeasurementRow.id.desc())
        )
        return list(self._session.scalars(query.limit(50)))

    def curves_of(self, study_id: str, limit: int) -> list[dict[str, Any]]:
        """List the validation curves of the last complete trials that were trained, oldest first.

        Each `{"top1": [after each epoch], "final": of the network that came out}`.
        """
        query = (
            select(TrialRow.details["history"], TrialRow.metrics)
            .where(
                TrialRow.study_id == study_id,
                TrialRow.state == TrialState.COMPLETE,
                TrialRow.origin.not_in(BROUGHT),
            )
            .order_by(TrialRow.number.desc())
        )
        found = []
        for history, metrics in self._session.execute(query.limit(limit)):
            final = (metrics or {}).get("validation_top1")
            if history and final is not None:
                top1 = [float(row["validation_top1"]) for row in history]
                found.append({"top1": top1, "final": float(final)})
        return found[::-1]

    def spared_of(self, study_id: str) -> list[tuple[str, dict[str, Any]]]:
        """List origin and progress of the trials that were ended early or not run at all."""
        query = select(TrialRow.origin, TrialRow.progress).where(
            TrialRow.study_id == study_id,
            or_(TrialRow.state == TrialState.STOPPED, TrialRow.origin == TWIN),
        )
        return [(origin, progress) for origin, progress in self._session.execute(query)]

    def measurement(self, measurement_id: int) -> MeasurementRow | None:
        """Find a measurement, if there is one."""
        return self._session.get(MeasurementRow, measurement_id)

    def n_of(self, study_id: str) -> int:
        """Count a study's trials, brought ones too; also the next trial's number."""
        return self._session.scalars(_N_OF, {"of_study": study_id}).one()

    def n_begun_of(self, study_id: str) -> tuple[int, int]:
        """Count a study's trials, and those it has started itself, which its budget limits."""
        query = select(func.count(), func.count().filter(_IS_STARTED))
        n, n_started = self._session.execute(query.where(TrialRow.study_id == study_id)).one()
        return n, n_started

    def standing_of(self, study_id: str, kind: str) -> tuple[int, int, int, bool]:
        """Count as `n_begun_of` does, and the open trials; tell if the study has a stage of a kind.

        What a driver asks before it reads anything else.
        """
        found = self._session.execute(_STANDING, {"of_study": study_id, "of_kind": kind}).one()
        n, n_started, n_open, has_stage = found
        return n, n_started, n_open, has_stage

    def rungs_of(self, study_id: str) -> list[TrialRow]:
        """List the trials of a study's rungs, by number."""
        query = select(TrialRow).where(TrialRow.study_id == study_id, TrialRow.rung.is_not(None))
        return list(self._session.scalars(query.order_by(TrialRow.number)))

    def last_told(self, study_id: str, from_number: int, n: int) -> list[TrialRow]:
        """List the last `n` trials that ended by themselves, from `from_number` on, last first.

        Number and failure are read, as a driver looks at them all the time.
        """
        query = (
            select(TrialRow)
            .options(load_only(TrialRow.number, TrialRow.failure))
            .where(
                TrialRow.study_id == study_id,
                TrialRow.number >= from_number,
                TrialRow.state.in_(_TOLD),
                TrialRow.origin.not_in(BROUGHT),
            )
            .order_by(TrialRow.number.desc())
        )
        return list(self._session.scalars(query.limit(n)))

    def counts_of(self, study_id: str) -> dict[str, int]:
        """Count the trials a study started by state; `feasible` ones; those that were `brought`."""
        return self.counts_of_all([study_id])[study_id]

    def counts_of_all(self, study_ids: Collection[str]) -> dict[str, dict[str, int]]:
        """Count the trials of several studies, see `counts_of`; no study is left out."""
        # As the index has them in order, ten thousand are counted without being sorted or read.
        known = TrialRow.study_id, TrialRow.state, TrialRow.is_feasible, TrialRow.origin
        query = select(*known, func.count()).where(TrialRow.study_id.in_(study_ids))
        nothing = {state.value: 0 for state in TrialState} | {"feasible": 0, "brought": 0}
        counts = {study_id: dict(nothing) for study_id in study_ids}
        for study_id, state, is_feasible, origin, n in self._session.execute(
            query.group_by(*known)
        ):
            of_study = counts[study_id]
            of_study["brought" if origin in BROUGHT else state.value] += n
            of_study["feasible"] += n if is_feasible else 0
        return counts

    def spans_of(self, study_id: str, n: int) -> list[tuple[datetime, datetime]]:
        """List start and end of the last `n` ended trials of a study."""
        query = (
            select(TrialRow.started_at, TrialRow.finished_at)
            .where(
                TrialRow.study_id == study_id,
                TrialRow.state.in_(_TOLD),
                TrialRow.started_at.is_not(None),
            )
            .order_by(TrialRow.number.desc())
        )
        rows = self._session.execute(query.limit(n))
        return [(start, end) for start, end in rows if start is not None and end is not None]

    def measurements_of(self, trial_id: str) -> list[MeasurementRow]:
        """List a trial's measurements, oldest first."""
        query = select(MeasurementRow).where(MeasurementRow.trial_id == trial_id)
        return list(self._session.scalars(query.order_by(MeasurementRow.id)))
