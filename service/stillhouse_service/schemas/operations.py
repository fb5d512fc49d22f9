"""Long work, behind a 202.

Depends on: pydantic.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from stillhouse_service.schemas.parts import Out


class Operation(Out):
    """Work that takes longer than an answer should."""

    id: str
    kind: str = Field(description="`importance`, `importance-csv` or `report`")
    study_id: str
    state: Literal["running", "done", "failed"]
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    result: str | None = Field(description="path of what it made, once it is done")
