"""Tokens.

Depends on: pydantic.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from stillhouse_service.schemas.parts import In, Out


class TokenIn(In):
    """A token to make."""

    name: str = Field(min_length=1, max_length=200, description="who will use it; for the log")
    scopes: list[str] = Field(
        min_length=1, examples=[["read"]], description="of `read`, `write`, `worker`, `admin`"
    )
    days: float | None = Field(default=None, gt=0, le=36_500, description="good for so long")


class Token(Out):
    """A token, as everybody but its holder knows it."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewToken(Token):
    """A token just made."""

    token: str = Field(description="shown this once; the server keeps its hash only")


class Tokens(Out):
    """All tokens."""

    items: list[Token]
