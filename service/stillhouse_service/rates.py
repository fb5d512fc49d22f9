"""How often one caller may ask: 429 with `Retry-After` for who asks more.

Depends on: starlette. A bucket a token, refilled all the time; kept in memory, as a server that
starts anew owes nobody.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from stillhouse_service.errors import RateLimited
from stillhouse_service.problem_documents import PROBLEM_JSON

_BURST_S = 2.0  # so many seconds' worth may come at once
_MOST_CALLERS = 10_000


class Buckets:
    """What each caller has left."""

    def __init__(self, rate_per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Let each caller have `rate_per_s` requests a second, and twice that at once."""
        self._rate, self._clock = rate_per_s, clock
        self._most = max(1.0, rate_per_s * _BURST_S)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, caller: str) -> float:
        """Take one request from a caller's bucket; give seconds to wait when it is empty."""
        now = self._clock()
        left, at = self._left.pop(caller, (self._most, now))
        left = min(self._most, left + (now - at) * self._rate)
        is_let_in = left >= 1.0
        self._left[caller] = (left - 1.0 if is_let_in else left, now)
        while len(self._left) > _MOST_CALLERS:
            self._left.popitem(last=False)  # not heard of for longest
        return 0.0 if is_let_in else (1.0 - left) / self._rate


class RateLimit:
    """Refuses who asks too often, before anything is looked up.

    A caller is a token; without one, an address. Programs of the server's own machine that show
    no token are not limited.
    """

    def __init__(self, app: ASGIApp, rate_per_s: float, is_local: bool) -> None:
        """Wrap `app`; a rate of 0 limits nobody."""
        self._app, self._is_local, self._rate = app, is_local, rate_per_s
        self._buckets = Buckets(rate_per_s) if rate_per_s > 0 else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        caller = self._caller(scope) if scope["type"] == "http" else None
        wait_s = 0.0
        if self._buckets is not None and caller is not None:
            wait_s = self._buckets.wait_s(caller)
        if wait_s == 0.0:
            await self._app(scope, receive, send)
            return
        detail = f"{self._rate:g} requests a second are let in for each token; wait {wait_s:.2f} s"
        body = {
            "type": f"/problems/{RateLimited.slug}",
            "title": RateLimited.title,
            "status": RateLimited.status,
            "detail": detail,
            "instance": scope["path"],
        }
        headers = [
            (b"content-type", PROBLEM_JSON.encode()),
            (b"retry-after", str(math.ceil(wait_s)).encode()),
        ]
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    def _caller(self, scope: Scope) -> str | None:
        shown = Headers(scope=scope).get("authorization")
        if shown is not None:
            return hashlib.sha256(shown.encode()).hexdigest()
        if self._is_local:
            return None
        client = scope.get("client")
        return client[0] if client else ""
