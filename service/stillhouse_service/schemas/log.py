"""What is only ever added: events and measurements.

Depends on: pydantic.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from stillhouse_service.schemas.parts import Out


class Event(Out):
    """One line of the append-only log."""

    number: int
    at: datetime
    subject: str = Field(description="id of what it is about")
    kind: str = Field(description="`state`, `stage`, `attempt` or `incumbent`")
    who: str
    before: str | None
    after: str | None
    reason: str | None


class Events(Out):
    """A page of events, oldest first."""

    items: list[Event]
    next_page_token: str | None = None


class Measurement(Out):
    """One device job's result; measuring again adds one, it changes none."""

    id: int
    purpose: str = Field(description="`check`, `trial`, `confirm` or `final`")
    split: str
    device_id: str
    at: datetime
    metrics: dict[str, int | float]
    result: dict[str, Any] = Field(description="as the device host reported it")
