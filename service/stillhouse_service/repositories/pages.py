"""Where a page of a list begins: keyset tokens.

Depends on: sqlalchemy.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from stillhouse_service.errors import Problem, SpecRejected

Cursor = tuple[datetime, str]


def to_token(text: str) -> str:
    """Wrap a key so that clients do not build on its form."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def from_token(token: str) -> str:
    """Unwrap a key.

    Raises:
        SpecRejected: It was not made by `to_token`.
    """
    try:
        return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise _unreadable(token) from None


def _unreadable(token: str) -> SpecRejected:
    wanted = "not a token of this list: take `next_page_token` of the page before"
    return SpecRejected([Problem("page_token", f"{token!r} is {wanted}")])


def cursor_token(created_at: datetime, row_id: str) -> str:
    """Name the place after a row in a list by age."""
    return to_token(f"{created_at.isoformat()} {row_id}")


def read_cursor(token: str | None) -> Cursor | None:
    """Read the place in a list by age.

    Raises:
        SpecRejected: The token is not of such a list.
    """
    if token is None:
        return None
    moment, _, row_id = from_token(token).partition(" ")
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        raise _unreadable(token) from None
    if at.tzinfo is None:
        raise _unreadable(token)
    return at, row_id


def read_number(token: str | None) -> int | None:
    """Read the place in a list by number.

    Raises:
        SpecRejected: The token is not of such a list.
    """
    if token is None:
        return None
    text = from_token(token)
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise _unreadable(token)
    return int(text)


def older_than(
    cursor: Cursor,
    created_at: InstrumentedAttribute[datetime],
    row_id: InstrumentedAttribute[str],
) -> ColumnElement[bool]:
    """Choose the rows that come after `cursor` in a list that starts with the newest."""
    at, last = cursor
    return or_(created_at < at, and_(created_at == at, row_id < last))
