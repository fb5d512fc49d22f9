"""The webhooks of the store and what was delivered to them.

Depends on: sqlalchemy.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from stillhouse_service.errors import NotFound
from stillhouse_service.tables import DeliveryRow, EventRow, WebhookRow

WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given-up"


class Webhooks:
    """The webhooks of the store and what was delivered to them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, row: WebhookRow | DeliveryRow) -> None:
        """Add a webhook or a delivery."""
        self._session.add(row)
        self._session.flush()

    def named(self, webhook_id: str) -> WebhookRow:
        """Find a webhook.

        Raises:
            NotFound: There is none of this id.
        """
        row = self._session.get(WebhookRow, webhook_id)
        if row is None:
            raise NotFound(f"no webhook {webhook_id}")
        return row

    def all(self) -> list[WebhookRow]:
        """List every webhook ever made, newest first."""
        query = select(WebhookRow).order_by(WebhookRow.created_at.desc(), WebhookRow.id)
        return list(self._session.scalars(query))

    def live(self) -> list[WebhookRow]:
        """List the webhooks that are told of events."""
        query = select(WebhookRow).where(WebhookRow.ended_at.is_(None))
        return list(self._session.scalars(query.order_by(WebhookRow.created_at, WebhookRow.id)))

    def last_event(self) -> int:
        """Number the last event that was written; 0 when there is none."""
        return self._session.scalars(select(func.max(EventRow.id))).one() or 0

    def event(self, event_id: int) -> EventRow:
        """Read an event that is known to exist."""
        return self._session.get_one(EventRow, event_id)

    def delivery(self, delivery_id: int) -> DeliveryRow:
        """Read a delivery that is known to exist."""
        return self._session.get_one(DeliveryRow, delivery_id)

    def due(self, webhook_id: str, now: datetime, limit: int) -> list[DeliveryRow]:
        """List the deliveries of a webhook that are to be tried now, in order.

        None, while the first of them rests before it is tried again.
        """
        query = (
            select(DeliveryRow)
            .where(DeliveryRow.webhook_id == webhook_id, DeliveryRow.state == WAITING)
            .order_by(DeliveryRow.id)
        )
        rows = list(self._session.scalars(query.limit(limit)))
        return rows if rows and rows[0].next_at <= now else []

    def waiting(self) -> list[DeliveryRow]:
        """List every delivery that is to be tried, now or later."""
        return list(self._session.scalars(select(DeliveryRow).where(DeliveryRow.state == WAITING)))

    def next_at(self) -> datetime | None:
        """Say when the next delivery is to be tried; none: none waits."""
        first = (
            select(func.min(DeliveryRow.id))
            .join(WebhookRow, WebhookRow.id == DeliveryRow.webhook_id)
            .where(DeliveryRow.state == WAITING, WebhookRow.ended_at.is_(None))
            .group_by(DeliveryRow.webhook_id)
        )
        query = select(func.min(DeliveryRow.next_at)).where(DeliveryRow.id.in_(first))
        return self._session.scalars(query).one()

    def of(self, webhook_id: str, limit: int, before: int | None) -> list[DeliveryRow]:
        """List a webhook's deliveries, newest first, from the one before number `before`."""
        query = select(DeliveryRow).where(DeliveryRow.webhook_id == webhook_id)
        if before is not None:
            query = query.where(DeliveryRow.id < before)
        return list(self._session.scalars(query.order_by(DeliveryRow.id.desc()).limit(limit)))

    def forget_before(self, moment: datetime) -> None:
        """Forget deliveries that ended long ago."""
        self._session.execute(delete(DeliveryRow).where(DeliveryRow.finished_at < moment))
