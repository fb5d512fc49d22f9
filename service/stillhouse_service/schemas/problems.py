"""Every refusal (RFC 9457).

Depends on: pydantic.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from stillhouse_service.schemas.parts import Out


class ProblemDetail(Out):
    """RFC 9457: every error of this API has this shape."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(examples=["/problems/spec-rejected"])
    title: str
    status: int
    detail: str
    instance: str
    problems: list[dict[str, str]] | None = Field(
        default=None, description="every problem with its path, where there is more than one"
    )
