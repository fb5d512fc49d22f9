"""A study's front over HTTP.

Depends on: fastapi.
"""

from __future__ import annotations

from stillhouse_service.fronts import front_of
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import View, problems
from stillhouse_service.routes.router import Router
from stillhouse_service.schemas.fronts import Front

router = Router(prefix="/v1/studies", tags=["studies"])


@router.get("/{study_id}/front", responses=problems(404, 409), dependencies=[needs("read")])
def show_front(study_id: str, view: View) -> Front:
    """Say which trials of several objectives no other beats, and how the front has grown."""
    return Front.model_validate(front_of(view, view.studies.named(study_id)))
