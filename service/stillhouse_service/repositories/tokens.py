"""The API tokens of the store, and the keys of requests.

Depends on: sqlalchemy.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from stillhouse_service.errors import NotFound
from stillhouse_service.tables import RequestKeyRow, TokenRow


class Tokens:
    """The API tokens of the store."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, row: TokenRow) -> None:
        """Add a token."""
        self._session.add(row)
        self._session.flush()

    def named(self, token_id: str) -> TokenRow:
        """Find a token by its id.

        Raises:
            NotFound: There is none.
        """
        row = self._session.get(TokenRow, token_id)
        if row is None:
            raise NotFound(f"no token {token_id}")
        return row

    def with_hash(self, sha256: str) -> TokenRow | None:
        """Find a token by its hash, whether or not it is still good."""
        return self._session.scalars(select(TokenRow).where(TokenRow.sha256 == sha256)).first()

    def all(self) -> list[TokenRow]:
        """List every token ever made, newest first."""
        query = select(TokenRow).order_by(TokenRow.created_at.desc(), TokenRow.id)
        return list(self._session.scalars(query))

    def is_any_live(self, now: datetime) -> bool:
        """Tell whether anybody holds a token that is good now."""
        query = select(TokenRow.id).where(
            TokenRow.revoked_at.is_(None),
            or_(TokenRow.expires_at.is_(None), TokenRow.expires_at > now),
        )
        return self._session.scalars(query.limit(1)).first() is not None


class RequestKeys:
    """The keys of requests that were sent once and may arrive twice."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, caller: str, key: str) -> RequestKeyRow | None:
        """Find what a key stands for, if it has been used."""
        return self._session.get(RequestKeyRow, (caller, key))

    def add(self, row: RequestKeyRow) -> None:
        """Write a key down."""
        self._session.add(row)
        self._session.flush()

    def forget_before(self, moment: datetime) -> None:
        """Forget the keys of long ago."""
        self._session.execute(delete(RequestKeyRow).where(RequestKeyRow.created_at < moment))
