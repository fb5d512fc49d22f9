"""What routes are given: a unit of work, the settings, page limits.

Depends on: fastapi.
"""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Wanted:
    """A transaction that a route wants; `router.Router` opens it in the thread it runs in.

    Attributes:
        store: Of what.
        user: Who writes; none: it only reads.
    """

    store: Store
    user: str | None

    def opened(self) -> AbstractContextManager[UnitOfWork]:
        """Open it; at the end it is committed."""
        return self.store.read() if self.user is None else self.store.begin(self.user)


class Unchanged(Exception):
    """The caller knows the answer already; `router.Router` makes it a 304."""


class Seen:
    """What the caller has seen, so that a route need not make the same answer again.

    Attributes:
        etag: Of the answer under way, once `compare` was asked.
        is_poll: Whether the caller has seen any answer.
    """

    def __init__(self, request: Request) -> None:
        """Read `If-None-Match`."""
        self._shown = request.headers.get("if-none-match", "")
        self.is_poll = bool(self._shown)
        self._release = request.app.version
        self.etag: str | None = None

    def compare(self, version: str) -> None:
        """End the route here if the caller has seen this version of its answer.

        Raises:
            Unchanged: It has.
        """
        self.etag = f'"{self._release}-{version}"'  # another release may answer otherwise
        if self.etag in self._shown:
            raise Unchanged


async def names_something(request: Request) -> None:
    """Refuse a path that no database can look up.

    Raises:
        NotFound: It holds a NUL character, which PostgreSQL refuses to compare.
    """
    if any("\x00" in str(value) for value in request.path_params.values()):
        raise NotFound("nothing has a name with a NUL character")


async def _writing(request: Request) -> Wanted:
    return Wanted(store_of(request), user_of(request))


async def _reading(request: Request) -> Wanted:
    return Wanted(store_of(request), None)


async def _seen(request: Request) -> Seen:
    return Seen(request)


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


async def _settings(request: Request) -> Settings:
    return settings_of(request)


async def _artifacts(request: Request) -> ArtifactStore:
    return artifacts_of(request)


async def may_wait(
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


Work = Annotated[UnitOfWork, Depends(_writing)]
View = Annotated[UnitOfWork, Depends(_reading)]
ServerSettings = Annotated[Settings, Depends(_settings)]
Artifacts = Annotated[ArtifactStore, Depends(_artifacts)]
SeenBefore = Annotated[Seen, Depends(_seen)]
Key = Annotated[Once, Depends(once_of)]
WAITS = Depends(may_wait)
PageSize = Annotated[int, Query(ge=1, le=1000, description="most items in one answer")]
PageToken = Annotated[
    str | None, Query(max_length=300, description="`next_page_token` of the page before")
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe a route's error answers for the OpenAPI page."""
    return {status: {"model": ProblemDetail} for status in statuses}
