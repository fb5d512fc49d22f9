"""A router whose routes run in one piece: transaction, answer and its JSON in one thread.

Depends on: fastapi, pydantic. FastAPI by itself runs each dependency, the route and the writing of
its answer as tasks of their own, and on a busy server each of them waits for its turn.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel

from stillhouse_service.routes.context import Seen, Unchanged, Wanted


class Router(APIRouter):
    """An `APIRouter` whose plain functions run in one piece; coroutines are left as they are."""

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **about: Any) -> None:
        """Add a route; as `APIRouter` does."""
        if not inspect.iscoroutinefunction(endpoint):
            endpoint = _in_one_piece(endpoint, about.get("status_code") or 200)
        super().add_api_route(path, endpoint, **about)


def _in_one_piece(endpoint: Callable[..., Any], status_code: int) -> Callable[..., Any]:
    @wraps(endpoint)
    def whole(**given: Any) -> Any:
        seen = next((one for one in given.values() if isinstance(one, Seen)), None)
        try:
            with ExitStack() as stack:
                for name, value in given.items():
                    if isinstance(value, Wanted):
                        given[name] = stack.enter_context(value.opened())
                answer = endpoint(**given)
        except Unchanged:
            return Response(status_code=304, headers=_etag(seen))
        # Committed; a failed commit must not follow an answer.
        if not isinstance(answer, BaseModel):
            return answer
        content = answer.__pydantic_serializer__.to_json(answer, by_alias=True)
        return Response(content, status_code, _etag(seen), "application/json")

    return whole


def _etag(seen: Seen | None) -> dict[str, str]:
    return {} if seen is None or seen.etag is None else {"ETag": seen.etag}
