"""What this process alone knows and counts: how long requests and proposals took.

Depends on: prometheus_client. Kept in memory, from the start of the process on.
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

from prometheus_client import Histogram, disable_created_metrics
from starlette.types import ASGIApp, Receive, Scope, Send

# A second line for each histogram, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]  # ships without its type
PROPOSAL_S = Histogram(
    "stillhouse_proposal_seconds",
    "Time that the optimizer took for a proposal, in this process since its start",
    registry=None,
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
REQUEST_S = Histogram(
    "stillhouse_request_seconds",
    "Time to answer a request, without long polls' waiting, in this process since its start",
    ("method", "route", "status"),
    registry=None,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
_UNMATCHED = "unmatched"  # no route: a path of its own for each would be without end
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class RequestTimes:
    """Times every answer; the innermost layer, so that nobody's waiting is counted."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and note how long that took."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begun_s = time.perf_counter()
        try:
            await self._app(scope, receive, watched)
        finally:
            took_s = time.perf_counter() - begun_s
            route = getattr(scope.get("route"), "path", _UNMATCHED)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            REQUEST_S.labels(method, route, str(status)).observe(took_s)
