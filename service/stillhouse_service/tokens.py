"""API tokens: who may do what.

Depends on: the store. A token is random enough that its plain SHA-256 may be stored; it is shown
once, to whoever made it, and never logged.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, get_args

from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.ids import new_id
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import TokenRow

Scope = Literal["read", "write", "worker", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_PREFIX = "shs_"  # so that scanners of leaked secrets can know one
# What a scope brings beside itself.
_GRANTS: dict[str, frozenset[str]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write"}),
    "worker": frozenset({"worker"}),
    "admin": frozenset(SCOPES),
}


def create(
    work: UnitOfWork, name: str, scopes: Sequence[str], days: float | None = None
) -> tuple[TokenRow, str]:
    """Make a token.

    Args:
        work: The transaction.
        name: Who will use it; the log names it.
        scopes: Of `SCOPES`; `write` brings `read`, `admin` everything.
        days: How long it is good for; none: until it is revoked.

    Returns:
        Its row and the token itself, which nobody can read again.

    Raises:
        SpecRejected: No name, no such scope, or no time.
    """
    problems = []
    if not name.strip() or len(name) > 200 or "\0" in name:
        problems.append(Problem("name", "must have 1 to 200 characters"))
    if not scopes:
        problems.append(Problem("scopes", f"at least one of {', '.join(SCOPES)}"))
    problems += [
        Problem(f"scopes[{i}]", f"no scope {scope!r}; there are {', '.join(SCOPES)}")
        for i, scope in enumerate(scopes)
        if scope not in SCOPES
    ]
    if days is not None and not 0 < days <= 36_500:
        problems.append(Problem("days", f"must lie in (0, 36500], got {days:g}"))
    if problems:
        raise SpecRejected(problems)
    token = _PREFIX + secrets.token_urlsafe(32)
    row = TokenRow(
        id=new_id("tok"),
        name=name,
        sha256=_hash(token),
        scopes=sorted(set(scopes)),
        created_at=work.now,
        expires_at=None if days is None else work.now + timedelta(days=days),
        revoked_at=None,
    )
    work.tokens.add(row)
    work.topics.add("tokens")
    work.audit(row.id, "token", after="live", reason=f"{name}: {', '.join(row.scopes)}")
    return row, token


def revoke(work: UnitOfWork, token_id: str) -> TokenRow:
    """End a token at once; ending it again changes nothing.

    Raises:
        NotFound: No such token.
    """
    row = work.tokens.named(token_id)
    if row.revoked_at is None:
        row.revoked_at = work.now
        work.topics.add("tokens")
        work.audit(row.id, "token", before="live", after="revoked", reason=row.name)
    return row


def holder_of(view: UnitOfWork, token: str) -> TokenRow | None:
    """Find the live token that somebody shows; none: there is none such."""
    row = view.tokens.with_hash(_hash(token))
    if row is None or row.revoked_at is not None:
        return None
    return None if row.expires_at is not None and row.expires_at <= view.now else row


def allows(row: TokenRow, wanted: Sequence[str]) -> bool:
    """Tell whether a token has any of the scopes wanted."""
    return any(one in _GRANTS.get(scope, ()) for scope in row.scopes for one in wanted)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
