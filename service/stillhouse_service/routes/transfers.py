"""What a study learns from others, over HTTP.

Depends on: fastapi.
"""

from __future__ import annotations

from stillhouse_service import transfers
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import View, problems
from stillhouse_service.routes.router import Router
from stillhouse_service.schemas.transfers import Transfer

router = Router(prefix="/v1/studies", tags=["studies"])


@router.get("/{study_id}/transfer", responses=problems(404, 409), dependencies=[needs("read")])
def show_transfer(study_id: str, view: View) -> Transfer:
    """Say which earlier studies a study learns from, and how much each counts."""
    return Transfer.model_validate(transfers.shown(view, view.studies.named(study_id)))
