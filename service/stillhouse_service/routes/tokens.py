"""Tokens and the whole log over HTTP, for administrators.

Depends on: fastapi.
"""

from __future__ import annotations

from stillhouse_service import schemas, tokens, views
from stillhouse_service.repositories.pages import read_number, to_token
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import Key, PageSize, PageToken, View, Work, problems
from stillhouse_service.routes.router import Router

router = Router(prefix="/v1", tags=["administration"])


@router.post(
    "/tokens", status_code=201, responses=problems(401, 403, 422), dependencies=[needs("admin")]
)
def create_token(wanted: schemas.TokenIn, work: Work) -> schemas.NewToken:
    """Make a token; this answer is the only one that ever holds it, so that no key repeats it."""
    row, token = tokens.create(work, wanted.name, wanted.scopes, wanted.days)
    return schemas.NewToken(token=token, **views.token(row).model_dump())


@router.get("/tokens", responses=problems(401, 403), dependencies=[needs("admin")])
def list_tokens(view: View) -> schemas.Tokens:
    """List every token ever made, newest first, without the tokens themselves."""
    return schemas.Tokens(items=[views.token(row) for row in view.tokens.all()])


@router.post(
    "/tokens/{token_id}/revoke",
    responses=problems(401, 403, 404),
    dependencies=[needs("admin")],
)
def revoke_token(token_id: str, work: Work, once: Key) -> schemas.Token:
    """End a token at once."""
    once.do(work, lambda: tokens.revoke(work, token_id).id)
    return views.token(work.tokens.named(token_id))


@router.get("/events", responses=problems(401, 403, 422), dependencies=[needs("admin")])
def list_all_events(
    view: View, page_size: PageSize = 100, page_token: PageToken = None
) -> schemas.Events:
    """List everything that happened on this server, oldest first: who, when, what, why."""
    rows = view.log.events(page_size + 1, read_number(page_token))
    shown = rows[:page_size]
    return schemas.Events(
        items=[views.event(row) for row in shown],
        next_page_token=to_token(str(shown[-1].id)) if len(rows) > page_size else None,
    )
