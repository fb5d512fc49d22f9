"""Who holds which token, remembered for a moment: every request wants to know.

Depends on: the store.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime

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

    def known(self, token: str | None) -> Known | None:
        """Give what was found a moment ago; none: it must be looked up. Asks no database."""
        with self._lock:
            until, known = self._known.get(token, (0.0, None))
        return known if time.monotonic() < until else None

    def look(self, token: str | None) -> Known:
        """Look a token up; none: what holds for who shows none."""
        n_forgotten = self._n_forgotten
        with self._store.read() as view:
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
