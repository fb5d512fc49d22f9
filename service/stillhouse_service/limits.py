"""How large a request may be: refused before it is read.

Depends on: starlette.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from stillhouse_service.errors import BodyTooLarge
from stillhouse_service.problem_documents import PROBLEM_JSON

_DISCARD_S = 1.0  # how long a refused body is read on


class BodyLimit:
    """Refuses bodies above a size, whether or not they say how large they are."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on that is small enough."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "0")
        if said.isascii() and said.isdigit() and int(said) > self._max_bytes:
            await self._discard(receive)
            await self._refuse(scope, send)
            return
        n_bytes = 0
        is_begun = is_whole = False

        async def counted() -> MutableMapping[str, Any]:
            nonlocal n_bytes, is_whole
            message = await receive()
            is_whole = not message.get("more_body", False)
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._max_bytes:
                raise _TooLarge
            return message

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal is_begun
            is_begun = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except _TooLarge:
            if not is_begun:
                if not is_whole:
                    await self._discard(receive)
                await self._refuse(scope, send)

    async def _discard(self, receive: Receive) -> None:
        """Read on for a while: closed with bytes unread, a connection may lose its answer."""
        n_left = self._max_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(_DISCARD_S):
                while n_left > 0:
                    message = await receive()
                    if not message.get("more_body", False):
                        return
                    n_left -= len(message.get("body", b""))

    async def _refuse(self, scope: Scope, send: Send) -> None:
        body = json.dumps(
            {
                "type": f"/problems/{BodyTooLarge.slug}",
                "title": BodyTooLarge.title,
                "status": BodyTooLarge.status,
                "detail": f"a body may have {self._max_bytes} bytes",
                "instance": scope["path"],
            }
        ).encode()
        headers = [(b"content-type", PROBLEM_JSON.encode()), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _TooLarge(BaseException):
    """Ends the reading of a body, through every handler of ordinary errors."""
