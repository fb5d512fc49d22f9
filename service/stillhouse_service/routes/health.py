"""Whether the server lives and can do its work: for load balancers and watchdogs, without a token.

Depends on: fastapi. Neither route takes a thread of the requests' or a database connection of its
own, so that they answer however busy the server is.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import cast

from fastapi import Request, Response

from stillhouse_service import readiness
from stillhouse_service.ready import Readiness
from stillhouse_service.routes.access import OPEN
from stillhouse_service.routes.context import ServerSettings
from stillhouse_service.routes.router import Router
from stillhouse_service.schemas import health as shapes

router = Router()


@router.get("/healthz", tags=["server"], dependencies=[OPEN])
async def health(request: Request, settings: ServerSettings) -> shapes.Health:
    """Say that the server lives, and what it is; asks no database."""
    is_plain = settings.compute in ("embedded", "none")
    return shapes.Health.model_validate(
        {
            "version": version("stillhouse"),
            "schema": request.app.state.schema_revision,
            "drives": request.app.state.leadership.leads,
            "compute": settings.compute if is_plain else "cluster",
        }
    )


@router.get(
    "/readyz",
    tags=["server"],
    dependencies=[OPEN],
    responses={503: {"model": shapes.Readiness, "description": "it cannot answer requests"}},
)
async def ready(request: Request, response: Response) -> shapes.Readiness:
    """Say whether what the server stands on holds: each part with its cure.

    `degraded` still serves: trials wait, or a clock is off. What needs guarding is in the server's
    log and in `stillhouse doctor`.
    """
    parts = await cast(Readiness, request.app.state.readiness).look()
    status = readiness.overall(parts)
    if status == "failed":
        response.status_code = 503
    told = ("name", "state", "says", "cure")
    return shapes.Readiness.model_validate(
        {
            "status": status,
            "parts": [{name: getattr(part, name) for name in told} for part in parts],
        }
    )
