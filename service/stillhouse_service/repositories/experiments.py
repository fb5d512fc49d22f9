"""The experiments of the store.

Depends on: sqlalchemy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from stillhouse_service.errors import NotFound
from stillhouse_service.repositories.pages import Cursor, older_than
from stillhouse_service.tables import ExperimentRow, MeasurementRow, StudyRow, TrialRow


class Experiments:
    """The experiments of the store."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, row: ExperimentRow) -> None:
        """Add an experiment."""
        self._session.add(row)
        self._session.flush()

    def named(self, experiment_id: str) -> ExperimentRow:
        """Find an experiment.

        Raises:
            NotFound: There is none of this id.
        """
        row = self._session.get(ExperimentRow, experiment_id)
        if row is None:
            raise NotFound(f"no experiment {experiment_id}")
        return row

    def newest(self, limit: int, after: Cursor | None) -> list[ExperimentRow]:
        """List experiments, newest first, from the one after `after`."""
        query = select(ExperimentRow).order_by(
            ExperimentRow.created_at.desc(), ExperimentRow.id.desc()
        )
        if after is not None:
            query = query.where(older_than(after, ExperimentRow.created_at, ExperimentRow.id))
        return list(self._session.scalars(query.limit(limit)))

    def following(self, subject_id: str, stage: str) -> list[ExperimentRow]:
        """List the experiments of a stage that follow from something, newest first."""
        query = (
            select(ExperimentRow)
            .where(ExperimentRow.subject_id == subject_id, ExperimentRow.stage == stage)
            .order_by(ExperimentRow.created_at.desc(), ExperimentRow.id.desc())
        )
        return list(self._session.scalars(query))

    def followed(self, subject_ids: Collection[str], stage: str) -> set[str]:
        """Find those of some things that an experiment of a stage follows from."""
        query = select(ExperimentRow.subject_id).where(
            ExperimentRow.subject_id.in_(subject_ids), ExperimentRow.stage == stage
        )
        return {found for found in self._session.scalars(query) if found is not None}

    def studies_of(self, experiment_id: str) -> list[StudyRow]:
        """List its studies, one for each baseline and device, in the order they were made."""
        query = select(StudyRow).where(StudyRow.experiment_id == experiment_id)
        return list(self._session.scalars(query.order_by(StudyRow.created_at, StudyRow.name)))

    def trials_of(self, study_ids: Sequence[str]) -> list[TrialRow]:
        """List the trials of studies with their details, by study and number."""
        query = (
            select(TrialRow)
            .where(TrialRow.study_id.in_(study_ids))
            .options(undefer(TrialRow.details))
            .order_by(TrialRow.study_id, TrialRow.number)
        )
        return list(self._session.scalars(query))

    def measurements_of(self, study_ids: Sequence[str]) -> list[MeasurementRow]:
        """List every measurement of studies, oldest first."""
        query = select(MeasurementRow).where(MeasurementRow.study_id.in_(study_ids))
        return list(self._session.scalars(query.order_by(MeasurementRow.id)))

    def last_on(self, device_id_or_kind: Sequence[str], limit: int) -> list[MeasurementRow]:
        """List the last measurements on any of these devices, last first."""
        query = select(MeasurementRow).where(MeasurementRow.device_id.in_(device_id_or_kind))
        return list(self._session.scalars(query.order_by(MeasurementRow.id.desc()).limit(limit)))
