"""Who holds which token, remembered for a moment: every request wants to know.

Depends on: the store.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from datetime import datetime

from starlette.concurrency import run_in_threadpool

from stillhouse_service import tokens
from stillhouse_service.store import Store
from stillhouse_service.tables import TokenRow

# `stillhouse token revoke` writes to the database, and no server is told.
REMEMBERED_S = 1.0
_MOST = 1000


@dataclass(frozen=True)
class Known:
    """What the database says of a token.

    Attributes:
        is_any_live: Whether anybody holds a token at all.
        holder: Whose it is; none: it is unknown, revoked, has run out, or none was shown.
    """

    is_any_live: bool
    holder: TokenRow | None


class Guard:
    """Looks tokens up, and keeps for `REMEMBERED_S` what it found."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str | None, tuple[float, Known]] = {}
        self._n_forgotten = 0
        self._looks: dict[tuple[str | None, int], asyncio.Task[Known]] = {}

    async def of(self, token: str | None) -> Known:
        """Tell what the database says of a token, or said a moment ago; of one event loop.

        Without a token: what holds for who shows none.

        Of a hundred requests that come at once with one token, one looks and all learn of it.
        """
        known = self._remembered(token)
        if known is not None:
            return known
        # Whoever comes after a token was revoked does not join a look that began before.
        key = token, self._n_forgotten
        look = self._looks.get(key)
        if look is None:
            look = self._looks[key] = asyncio.create_task(run_in_threadpool(self._look, token))
            look.add_done_callback(lambda done: self._looked(key, done))
        return await asyncio.shield(look)  # one that hangs up must not end it for the others

    def _looked(self, key: tuple[str | None, int], done: asyncio.Task[Known]) -> None:
        del self._looks[key]
        if not done.cancelled():
            done.exception()  # whoever waited has been told; if nobody did, nobody minds

    def _remembered(self, token: str | None) -> Known | None:
        with self._lock:
            until, known = self._known.get(token, (0.0, None))
        return known if time.monotonic() < until else None

    def _look(self, token: str | None) -> Known:
        n_forgotten = self._n_forgotten
        with self._store.glance() as view:
            is_any_live = view.tokens.is_any_live(view.now)
            known = Known(is_any_live, None if token is None else tokens.holder_of(view, token))
            remembered_s = _remembered_s(known.holder, view.now)
        if token is None or known.holder is not None:  # whoever makes tokens up fills no memory
            with self._lock:
                if len(self._known) >= _MOST:
                    self._known.clear()
                if n_forgotten == self._n_forgotten:
                    self._known[token] = time.monotonic() + remembered_s, known
        return known

    def forget(self) -> None:
        """Forget everything: a token was made or revoked."""
        with self._lock:
            self._n_forgotten += 1
            self._known.clear()


def _remembered_s(holder: TokenRow | None, now: datetime) -> float:
    """No token is remembered for longer than it holds."""
    if holder is None or holder.expires_at is None:
        return REMEMBERED_S
    return min(REMEMBERED_S, (holder.expires_at - now).total_seconds())
