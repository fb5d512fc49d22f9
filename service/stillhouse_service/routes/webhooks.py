"""Webhooks over HTTP, for administrators.

Depends on: fastapi.
"""

from __future__ import annotations

from fastapi import Request

from stillhouse_service import schemas, views, webhooks
from stillhouse_service.repositories.pages import read_number, to_token
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import (
    Key,
    PageSize,
    PageToken,
    ServerSettings,
    View,
    Work,
    problems,
    store_of,
    user_of,
)
from stillhouse_service.routes.router import Router

router = Router(prefix="/v1/webhooks", tags=["administration"])


@router.post("", status_code=201, responses=problems(401, 403, 422), dependencies=[needs("admin")])
def create_webhook(
    wanted: schemas.WebhookIn, request: Request, settings: ServerSettings
) -> schemas.NewWebhook:
    """Have an address told of events; this answer alone holds its secret, so no key repeats it."""
    networks = settings.webhook_networks
    row = webhooks.create(store_of(request), user_of(request), wanted, networks)
    return schemas.NewWebhook(secret=row.secret, **views.webhook(row).model_dump())


@router.get("", responses=problems(401, 403), dependencies=[needs("admin")])
def list_webhooks(view: View) -> schemas.Webhooks:
    """List every webhook ever made, newest first, without secrets."""
    return schemas.Webhooks(items=[views.webhook(row) for row in view.webhooks.all()])


@router.post("/{webhook_id}/end", responses=problems(401, 403, 404), dependencies=[needs("admin")])
def end_webhook(webhook_id: str, work: Work, once: Key) -> schemas.Webhook:
    """Tell it nothing more."""
    once.do(work, lambda: webhooks.end(work, webhook_id).id)
    return views.webhook(work.webhooks.named(webhook_id))


@router.get(
    "/{webhook_id}/deliveries",
    responses=problems(401, 403, 404, 422),
    dependencies=[needs("admin")],
)
def list_deliveries(
    webhook_id: str, view: View, page_size: PageSize = 100, page_token: PageToken = None
) -> schemas.Deliveries:
    """List what it was told and what became of that, newest first; kept for thirty days."""
    view.webhooks.named(webhook_id)
    rows = view.webhooks.of(webhook_id, page_size + 1, read_number(page_token))
    shown = rows[:page_size]
    return schemas.Deliveries(
        items=[views.delivery(row) for row in shown],
        next_page_token=to_token(str(shown[-1].id)) if len(rows) > page_size else None,
    )
