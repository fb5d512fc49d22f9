"""What routes are given: a unit of work, the settings, page limits.

Depends on: fastapi.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, cast

from fastapi import Depends, Query, Request

from stillhouse_service.artifacts import ArtifactStore
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


def _writing(request: Request) -> Iterator[UnitOfWork]:
    with store_of(request).begin(user_of(request)) as work:
        yield work


def _reading(request: Request) -> Iterator[UnitOfWork]:
    with store_of(request).read() as work:
        yield work


# scope="function": commit before the answer is sent; by default a failed commit would follow it.
Work = Annotated[UnitOfWork, Depends(_writing, scope="function")]
View = Annotated[UnitOfWork, Depends(_reading, scope="function")]
ServerSettings = Annotated[Settings, Depends(settings_of)]
Artifacts = Annotated[ArtifactStore, Depends(artifacts_of)]
PageSize = Annotated[int, Query(ge=1, le=1000, description="most items in one answer")]
PageToken = Annotated[
    str | None, Query(max_length=300, description="`next_page_token` of the page before")
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe a route's error answers for the OpenAPI page."""
    return {status: {"model": ProblemDetail} for status in statuses}
