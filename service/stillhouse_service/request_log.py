"""An id for every request: taken from who asks, or made; in every line of the log, and given back.

Depends on: starlette, stillhouse_benchmark.logs.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import MutableMapping
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from stillhouse_benchmark.logs import about

HEADER = "X-Request-Id"
_log = logging.getLogger(__name__)
_USABLE = re.compile(r"[A-Za-z0-9._\-]{1,100}")  # nothing that could forge a line


class RequestLog:
    """Names each request, and logs how it ended: the outermost layer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        shown = Headers(scope=scope).get(HEADER, "")
        request_id = shown if _USABLE.fullmatch(shown) else uuid4().hex
        begun_s, status = time.perf_counter(), 0

        async def named(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with about(request=request_id):
            await self._app(scope, receive, named)
            level = logging.WARNING if status >= 500 else logging.DEBUG
            if _log.isEnabledFor(level):
                took_ms = (time.perf_counter() - begun_s) * 1000
                what = f"{scope['method']} {scope['path']!r}"
                _log.log(level, "%s: %d in %.0f ms", what, status, took_ms)
