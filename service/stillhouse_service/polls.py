"""What every JSON answer to a GET gets: an ETag, 304 for who has it already, a wait for news.

Depends on: starlette. Plain ASGI around the application; whoever waits holds no thread and no
database connection. Those who wait for the same answer share one look at it.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import MutableMapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from stillhouse_service.bell import Bell
from stillhouse_service.looks import Looks
from stillhouse_service.turns import Turns

MAX_WAIT_S = 60.0
_BREATH_S = 0.1  # news may come in bursts: look at most so often
_N_LOOKS = 2  # at once, for those who wait
# Who got news asks again at once: of many at the same moment each would keep the others, and
# whoever else asks, waiting.
_NEWS_EVERY_S = 0.002
_OF_A_STUDY = re.compile(r"/v1/studies/([^/]+)")
# Headers that an answer may depend on: who knows it already may be told that alone.
_TOLD_BY = ("authorization", "accept", "if-none-match")
_Message = MutableMapping[str, Any]


class Polls:
    """Answers 304 to `If-None-Match`, with `?wait=SECONDS` only when that time has brought no news.

    Without `If-None-Match`, `wait` changes nothing: who has seen nothing gets an answer at once.
    """

    def __init__(self, app: ASGIApp, news: Bell, is_stopping: Any) -> None:
        """Wrap `app`.

        Args:
            app: The application.
            news: Rung after every commit.
            is_stopping: A `threading.Event` that is set when the server is told to end.
        """
        self._app, self._news, self._is_stopping = app, news, is_stopping
        self._looks = Looks(_BREATH_S, _N_LOOKS)
        self._turns = Turns(_NEWS_EVERY_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "GET" or not _is_polled(scope):
            await self._app(scope, receive, send)
            return
        # An answer about one study changes with that study.
        study = _OF_A_STUDY.match(scope["path"])
        about = study[1] if study else None
        rung = self._news.subscribe(about)
        try:
            known = Headers(scope=scope).get("if-none-match", "")
            wait_s = _wait_s(scope) if known else 0.0
            deadline = time.monotonic() + wait_s
            look = partial(self._answer, scope, receive)
            # Those who got news ask again at the same moment: one look is for all of them.
            start, body = await (self._looks.look(_same(scope), look) if wait_s > 0 else look())
            while (etag := MutableHeaders(scope=start).get("etag")) is not None and etag in known:
                left_s = deadline - time.monotonic()
                is_over = left_s <= 0 or self._is_stopping.is_set()
                if is_over or not await self._news.wait(rung, left_s, about):
                    start = {**start, "status": 304, "headers": [(b"etag", etag.encode())]}
                    body = b""
                    break
                rung = self._news.subscribe(about)
                start, body = await self._looks.look(_same(scope), look)
        finally:
            self._news.unsubscribe(rung, about)
        if wait_s > 0 and body:
            await self._turns.take()
        await send(start)
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[_Message, bytes]:
        """Have the application answer; give the head, with an ETag if it is JSON, and the body.

        A route that knows a cheaper way to tell what it would answer has given it one, or a 304.
        """
        start: _Message = {}
        parts: list[bytes] = []

        async def keep(message: _Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self._app(dict(scope), receive, keep)
        body = b"".join(parts)
        headers = MutableHeaders(scope=start)
        if start["status"] == 200 and headers.get("content-type") == "application/json":
            headers.setdefault("etag", f'"{hashlib.sha256(body).hexdigest()[:32]}"')
            headers["cache-control"] = "no-cache"
        return start, body


def _same(scope: Scope) -> tuple[object, ...]:
    """Give what two requests have in common that get the same answer."""
    headers = Headers(scope=scope)
    return scope["path"], scope["query_string"], *(headers.get(name) for name in _TOLD_BY)


def _is_polled(scope: Scope) -> bool:
    """Tell whether the answer is JSON that fits into memory, and ends."""
    path: str = scope["path"]
    form = parse_qs(scope["query_string"].decode("latin-1")).get("format", ["json"])[-1]
    return (
        path.startswith("/v1/")
        and not path.startswith("/v1/artifacts/")
        and (not path.endswith(("/events/stream", "/report")))
        and form == "json"
    )


def _wait_s(scope: Scope) -> float:
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("wait", ["0"])[-1]
    try:
        return max(0.0, min(float(asked), MAX_WAIT_S))
    except ValueError:
        return 0.0  # the route refuses it
