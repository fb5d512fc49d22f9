"""What routes are given: a unit of work, the settings, page limits.

Depends on: fastapi.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any, cast

from fastapi import Depends, Header, Query, Request

from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.errors import NotFound
from stillhouse_service.once import Once
from stillhouse_service.polls import MAX_WAIT_S
from stillhouse_service.schemas import ProblemDetail
from stillhouse_service.settings import Settings
from stillhouse_service.store import Store, UnitOfWork


def store_of(request: Request) -> Store:
    """The app's store."""
    return cast(Store, request.app.state.store)


def settings_of(request: Request) -> Settings:
    """The app's settings."""
    return cast(Settings, request.app.state.settings)


def artifacts_of(request: Request) -> ArtifactStore:
    """The app's artifact store."""
    return cast(ArtifactStore, request.app.state.artifacts)


def user_of(request: Request) -> str:
    """Who calls, as `access.allowed` found."""
    return cast(str, request.state.user)


def names_something(request: Request) -> None:
    """Refuse a path that no database can look up.

    Raises:
        NotFound: It holds a NUL character, which PostgreSQL refuses to compare.
    """
    if any("\x00" in str(value) for value in request.path_params.values()):
        raise NotFound("nothing has a name with a NUL character")


def _writing(request: Request) -> Iterator[UnitOfWork]:
    with store_of(request).begin(user_of(request)) as work:
        yield work


def _reading(request: Request) -> Iterator[UnitOfWork]:
    with store_of(request).read() as work:
        yield work


async def once_of(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=200,
            description="the same request sent again with the same key is done once",
        ),
    ] = None,
) -> Once:
    """The request's key and what it stands for."""
    said = f"{request.method} {request.url.path}\n".encode() + await request.body()
    return Once(key, hashlib.sha256(said).hexdigest())


def may_wait(
    wait: Annotated[
        float | None,
        Query(
            ge=0,
            le=MAX_WAIT_S,
            description="with `If-None-Match`: wait so many seconds for another answer",
        ),
    ] = None,
) -> None:
    """Describe `wait`, which `polls.Polls` does."""


# scope="function": commit before the answer is sent; by default a failed commit would follow it.
Work = Annotated[UnitOfWork, Depends(_writing, scope="function")]
View = Annotated[UnitOfWork, Depends(_reading, scope="function")]
ServerSettings = Annotated[Settings, Depends(settings_of)]
Artifacts = Annotated[ArtifactStore, Depends(artifacts_of)]
Key = Annotated[Once, Depends(once_of)]
WAITS = Depends(may_wait)
PageSize = Annotated[int, Query(ge=1, le=1000, description="most items in one answer")]
PageToken = Annotated[
    str | None, Query(max_length=300, description="`next_page_token` of the page before")
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe a route's error answers for the OpenAPI page."""
    return {status: {"model": ProblemDetail} for status in statuses}
