"""Which scope a route wants, and who calls.

Depends on: fastapi. Every route names its scope with `needs`; a test fails for one that does not.
"""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from stillhouse_service import tokens
from stillhouse_service.errors import Forbidden, Unauthorized
from stillhouse_service.guard import Guard
from stillhouse_service.store import USER
from stillhouse_service.tokens import Scope

_bearer = HTTPBearer(auto_error=False, description="from `stillhouse token create`")


async def allowed(
    request: Request,
    wanted: SecurityScopes,
    shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Let in who may call this route, and remember who it is.

    Where no token has been made, a server on loopback lets everybody in.

    Raises:
        Unauthorized: A token is wanted, and none that is good was shown.
        Forbidden: Its token has another scope.
    """
    request.state.user = USER
    guard = cast(Guard, request.app.state.guard)
    credentials = None if shown is None else shown.credentials
    # Known a moment ago, mostly: then it costs neither a thread nor a transaction.
    known = await guard.of(credentials)
    if not (request.app.state.is_guarded or known.is_any_live):
        return
    if credentials is None:
        raise Unauthorized("this server wants a token: send `Authorization: Bearer ...`")
    if (holder := known.holder) is None:
        raise Unauthorized("the token is unknown, revoked or has run out")
    if not tokens.allows(holder, wanted.scopes):
        scopes = " or ".join(f"`{scope}`" for scope in wanted.scopes)
        raise Forbidden(f"token {holder.name!r} has no scope {scopes}")
    request.state.user = holder.name


def needs(*scopes: Scope) -> Any:
    """Declare that a route wants a token with any of these scopes."""
    return Security(allowed, scopes=list(scopes))


async def anyone() -> None:
    """Declare that a route is for everybody: it tells nothing that needs guarding."""


OPEN = Depends(anyone)
