"""What is only ever added: events and measurements; and the artifacts that rows name.

Depends on: sqlalchemy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Text, cast, delete, select
from sqlalchemy.orm import Session

from stillhouse_service.tables import ArtifactRow, Base, EventRow, MeasurementRow

_EVENTS = Base.metadata.tables[EventRow.__tablename__]
_ADDED = _EVENTS.insert()
_SHA256 = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


class Log:
    """Events, measurements and artifacts."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._events: list[dict[str, Any]] = []

    def add(self, row: MeasurementRow) -> None:
        """Add a measurement."""
        self._session.add(row)

    def add_event(
        self,
        *,
        at: datetime,
        study_id: str | None,
        subject: str,
        kind: str,
        who: str,
        before: str | None,
        after: str | None,
        reason: str | None,
    ) -> None:
        """Add an event, see `EventRow`; a transaction writes all of its events at its end.

        Events only tell what was done, so no transaction reads those that it adds itself.
        """
        self._events.append(
            {
                "at": at,
                "study_id": study_id,
                "subject": subject,
                "kind": kind,
                "who": who,
                "before": before,
                "after": after,
                "reason": reason,
            }
        )

    def write_events(self) -> None:
        """Write the events that were added, in their order."""
        if self._events:
            # Past the ORM: nobody wants to know their numbers, so one statement writes them all.
            self._session.execute(_ADDED, self._events)
            self._events = []

    def add_artifacts(self, rows: Sequence[ArtifactRow]) -> None:
        """Add artifacts, but for those whose content is known already."""
        by_hash = {row.sha256: row for row in rows}
        known = self.artifacts(by_hash)
        self._session.add_all(row for sha256, row in by_hash.items() if sha256 not in known)
        self._session.flush()

    def artifact(self, sha256: str) -> ArtifactRow | None:
        """Find an artifact."""
        return self._session.get(ArtifactRow, sha256)

    def artifacts(self, hashes: Collection[str]) -> dict[str, ArtifactRow]:
        """Find artifacts by their hashes; those that are not known are left out."""
        query = select(ArtifactRow).where(ArtifactRow.sha256.in_(hashes))
        return {row.sha256: row for row in self._session.scalars(query)}

    def artifact_hashes(self) -> list[str]:
        """List the hashes of all artifacts."""
        return list(self._session.scalars(select(ArtifactRow.sha256)))

    def named_hashes(self) -> set[str]:
        """Find the artifacts that something needs: every hash in any row's JSON."""
        found: set[str] = set()
        for table in Base.metadata.sorted_tables:
            columns = [cast(one, Text) for one in table.columns if isinstance(one.type, JSON)]
            if not columns:
                continue
            rows = self._session.execute(select(*columns).execution_options(yield_per=500))
            for row in rows:
                for text in row:
                    found.update(_SHA256.findall(text or ""))
        return found

    def drop_artifacts(self, hashes: Collection[str]) -> None:
        """Forget artifacts that nothing names any more."""
        for sha256 in hashes:
            self._session.execute(delete(ArtifactRow).where(ArtifactRow.sha256 == sha256))

    def events_of(self, subject: str) -> list[EventRow]:
        """List what happened to one thing, oldest first."""
        query = select(EventRow).where(EventRow.subject == subject)
        return list(self._session.scalars(query.order_by(EventRow.id)))

    def events_of_study(self, study_id: str, limit: int, after: int | None) -> list[EventRow]:
        """List what happened in a study and its trials, oldest first, after number `after`."""
        query = select(EventRow).where(EventRow.study_id == study_id).order_by(EventRow.id)
        if after is not None:
            query = query.where(EventRow.id > after)
        return list(self._session.scalars(query.limit(limit)))

    def events(self, limit: int, after: int | None) -> list[EventRow]:
        """List everything that happened, oldest first, after number `after`."""
        query = select(EventRow).order_by(EventRow.id)
        if after is not None:
            query = query.where(EventRow.id > after)
        return list(self._session.scalars(query.limit(limit)))

    def check_of(self, study_id: str) -> MeasurementRow | None:
        """Find the measurement of a study's baseline that it began with."""
        query = select(MeasurementRow).where(
            MeasurementRow.study_id == study_id, MeasurementRow.purpose == "check"
        )
        return self._session.scalars(query.limit(1)).first()

    def measurements_of_study(self, study_id: str) -> list[MeasurementRow]:
        """List a study's measurements, oldest first."""
        query = select(MeasurementRow).where(MeasurementRow.study_id == study_id)
        return list(self._session.scalars(query.order_by(MeasurementRow.id)))
