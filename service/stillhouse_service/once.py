"""A request that arrives twice is done once: `Idempotency-Key`.

Depends on: the store. The key is written in the transaction that does what was asked, so that a
server killed in between leaves both or neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from stillhouse_service.errors import KeyReused
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import RequestKeyRow

_KEPT = timedelta(days=7)


@dataclass(frozen=True)
class Once:
    """One request's key, if it came with one.

    Attributes:
        key: What the client made up; none: it does not care.
        fingerprint: SHA-256 of method, path and body.
    """

    key: str | None = None
    fingerprint: str = ""

    def do(self, work: UnitOfWork, act: Callable[[], str]) -> str:
        """Do what was asked, unless this request has been done already.

        Args:
            work: The transaction.
            act: Does it; gives the id of what was made or changed.

        Returns:
            That id, of the first time.

        Raises:
            KeyReused: The key came with another request before.
        """
        known = self.found(work)
        if known is not None:
            return known.subject
        subject = act()
        self._remember(work, subject)
        return subject

    def do_all(
        self, work: UnitOfWork, subject: str, act: Callable[[], Sequence[str]]
    ) -> Sequence[str]:
        """Do what makes several things; `subject` is what they are of. As `do` otherwise."""
        known = self.found(work)
        if known is not None:
            return known.subjects or ()
        made = act()
        self._remember(work, subject, made)
        return made

    def found(self, work: UnitOfWork) -> RequestKeyRow | None:
        """Find what this request did before; none: it is new, or came without a key.

        Raises:
            KeyReused: The key came with another request before.
        """
        if self.key is None:
            return None
        known = work.request_keys.find(work.user, self.key)
        if known is not None and known.fingerprint != self.fingerprint:
            raise KeyReused(
                f"Idempotency-Key {self.key!r} came with another request before; make up a "
                "new key for each"
            )
        return known

    def _remember(
        self, work: UnitOfWork, subject: str, subjects: Sequence[str] | None = None
    ) -> None:
        if self.key is None:
            return
        work.request_keys.forget_before(work.now - _KEPT)
        work.request_keys.add(
            RequestKeyRow(
                caller=work.user,
                key=self.key,
                fingerprint=self.fingerprint,
                subject=subject,
                subjects=None if subjects is None else list(subjects),
                created_at=work.now,
            )
        )
