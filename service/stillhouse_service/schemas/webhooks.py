"""Addresses that are told of events.

Depends on: pydantic.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from stillhouse_service.schemas.parts import In, Out


class WebhookIn(In):
    """An address to tell of events."""

    url: str = Field(
        min_length=1,
        max_length=2000,
        description="`https://…` of the public internet, unless the server's settings allow more",
        examples=["https://example.org/stillhouse"],
    )
    kinds: list[str] = Field(
        default_factory=list,
        max_length=20,
        description="kinds of events: `state`, `incumbent`, `stage`, `attempt`, …; empty: all",
    )
    study: str | None = Field(default=None, description="events of this study alone")


class Webhook(Out):
    """An address that is told of events."""

    id: str
    url: str
    kinds: list[str]
    study: str | None
    made_by: str
    created_at: datetime
    ended_at: datetime | None


class NewWebhook(Webhook):
    """A webhook just made."""

    secret: str = Field(description="signs its messages; shown this once")


class Webhooks(Out):
    """All webhooks, newest first."""

    items: list[Webhook]


class Delivery(Out):
    """An event on its way to a webhook."""

    id: int
    event: int = Field(description="the event's number")
    state: Literal["waiting", "delivered", "given-up"]
    n_tries: int
    status: int | None = Field(description="of the last answer")
    error: str | None = Field(description="of the last try")
    next_at: datetime
    created_at: datetime
    finished_at: datetime | None


class Deliveries(Out):
    """A page of a webhook's deliveries, newest first."""

    items: list[Delivery]
    next_page_token: str | None = None
