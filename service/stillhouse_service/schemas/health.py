"""Whether the server lives, and whether what it stands on holds.

Depends on: pydantic.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse_service.schemas.parts import Out


class Health(Out):
    """The server is alive."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    status: Literal["ok"] = "ok"
    version: str
    schema_revision: str = Field(alias="schema")
    drives: bool = Field(
        description="whether it moves the studies on: of several servers of a database one does"
    )
    compute: Literal["embedded", "none", "cluster"]


class ReadyPart(Out):
    """One thing that the server stands on."""

    name: str = Field(description="`database`, `schema`, `artifacts`, `room`, `compute`, `clock`")
    state: Literal["ok", "degraded", "failed"]
    says: str = Field(description="what was found, in words")
    cure: str = Field(description="what to do about it; empty where nothing is to be done")


class Readiness(Out):
    """Whether the server can do its work."""

    status: Literal["ok", "degraded", "failed"] = Field(
        description="`failed` only when it cannot answer: then with 503"
    )
    parts: list[ReadyPart]
