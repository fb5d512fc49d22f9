"""What Prometheus scrapes.

Depends on: fastapi.
"""

from __future__ import annotations

from typing import cast

from fastapi import Request
from fastapi.responses import PlainTextResponse

from stillhouse_service.metrics import CONTENT_TYPE, Metrics
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.router import Router

router = Router()


@router.get(
    "/metrics",
    tags=["server"],
    response_class=PlainTextResponse,
    dependencies=[needs("read")],
)
def scrape(request: Request) -> PlainTextResponse:
    """Tell how everything stands, in Prometheus' text format (docs/operations.md lists it)."""
    text = cast(Metrics, request.app.state.metrics).text()
    return PlainTextResponse(text, headers={"Content-Type": CONTENT_TYPE})
