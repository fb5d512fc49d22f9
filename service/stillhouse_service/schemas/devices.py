"""Devices that hosts offer.

Depends on: pydantic.
"""

from __future__ import annotations

from datetime import datetime

from stillhouse_service.schemas.parts import Out


class DeviceInfo(Out):
    """A device that a host has offered."""

    id: str
    worker_id: str
    worker: str
    name: str
    kind: str
    full_name: str
    runtime: str
    runtime_version: str
    is_live: bool
    last_seen_at: datetime


class Devices(Out):
    """All devices ever offered."""

    items: list[DeviceInfo]
