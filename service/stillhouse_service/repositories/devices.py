"""The device hosts of the store and their devices.

Depends on: sqlalchemy.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, bindparam, or_, select
from sqlalchemy.orm import Session

from stillhouse_service.errors import NotFound
from stillhouse_service.states import AttemptState
from stillhouse_service.tables import AttemptRow, DeviceRow, WorkerRow

_WITH_LAST_STATE = select(
    DeviceRow,
    select(AttemptRow.state)
    .where(AttemptRow.holder == bindparam("device_id"))
    .order_by(AttemptRow.started_at.desc())
    .limit(1)
    .scalar_subquery(),
).where(DeviceRow.id == bindparam("device_id"))


class Devices:
    """The device hosts of the store and their devices."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._at_hand: list[
            Row[tuple[DeviceRow, WorkerRow]]
        ] = []  # a session forgets what nobody has

    def add(self, row: WorkerRow | DeviceRow) -> None:
        """Add a host or a device."""
        self._session.add(row)
        self._session.flush()

    def host_called(self, name: str) -> WorkerRow | None:
        """Find the host that registered under `name`."""
        return self._session.scalars(select(WorkerRow).where(WorkerRow.name == name)).first()

    def host(self, worker_id: str) -> WorkerRow:
        """Find a host.

        Raises:
            NotFound: There is none of this id: it must register again.
        """
        row = self._session.get(WorkerRow, worker_id)
        if row is None:
            raise NotFound(f"no worker {worker_id}: register again with POST /v1/workers")
        return row

    def of_host(self, worker_id: str) -> dict[str, DeviceRow]:
        """Read a host's devices by name."""
        query = select(DeviceRow).where(DeviceRow.worker_id == worker_id)
        return {row.name: row for row in self._session.scalars(query)}

    def device(self, device_id: str) -> DeviceRow:
        """Find a device.

        Raises:
            NotFound: There is none of this id.
        """
        row = self._session.get(DeviceRow, device_id)
        if row is None:
            raise NotFound(f"no device {device_id}: register again with POST /v1/workers")
        return row

    def with_last_state(self, device_id: str) -> tuple[DeviceRow, AttemptState | None] | None:
        """Find a device, if there is one, and what became of the last job it was given."""
        found = self._session.execute(_WITH_LAST_STATE, {"device_id": device_id})
        return next(((device, state) for device, state in found), None)

    def read_ahead(self, device_ids: Sequence[str]) -> None:
        """Read devices and their hosts at once; asked for by id, they then are at hand."""
        query = select(DeviceRow, WorkerRow).join(WorkerRow, WorkerRow.id == DeviceRow.worker_id)
        self._at_hand = list(self._session.execute(query.where(DeviceRow.id.in_(device_ids))))

    def all_with_hosts(self) -> list[tuple[DeviceRow, WorkerRow]]:
        """List every device ever offered, with its host."""
        query = (
            select(DeviceRow, WorkerRow)
            .join(WorkerRow, WorkerRow.id == DeviceRow.worker_id)
            .order_by(WorkerRow.name, DeviceRow.name)
        )
        return [(device, worker) for device, worker in self._session.execute(query)]

    def kinds(self) -> set[str]:
        """Name the kinds of device ever offered."""
        return set(self._session.scalars(select(DeviceRow.kind).distinct()))

    def last_seen(self, wanted: str) -> datetime | None:
        """Say when a device of this kind, name or id, or capability, was last heard of."""
        if ":" in wanted:  # `compile:MYRIAD`: what capabilities look like
            able = [d for d, _ in self.all_with_hosts() if wanted in d.info.get("capabilities", ())]
            return max((device.last_seen_at for device in able), default=None)
        query = (
            select(DeviceRow.last_seen_at)
            .where(or_(DeviceRow.kind == wanted, DeviceRow.name == wanted, DeviceRow.id == wanted))
            .order_by(DeviceRow.last_seen_at.desc())
        )
        return self._session.scalars(query.limit(1)).first()
