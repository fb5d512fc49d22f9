"""What the page draws: a study, bounded; compute and device hosts; a study's spec, checked.

Depends on: fastapi.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Query, Request
from pydantic import AfterValidator

from stillhouse_service import schemas
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import (
    WAITS,
    ServerSettings,
    View,
    problems,
    store_of,
)
from stillhouse_service.routes.router import Router
from stillhouse_service.schemas import overview as shapes
from stillhouse_service.spec_check import checked
from stillhouse_service.study_views import study_view
from stillhouse_service.work_views import work_overview

router = Router(prefix="/v1")
Spec = Annotated[
    dict[str, Any],
    AfterValidator(schemas.storable),
    Body(description="as `POST /v1/studies` takes it"),
]


@router.get(
    "/studies/{study_id}/view",
    tags=["studies"],
    responses=problems(404),
    dependencies=[needs("read"), WAITS],
)
def show_view(
    study_id: str,
    view: View,
    lines: Annotated[bool, Query(description="`lines` as well, with configs")] = True,
) -> shapes.StudyView:
    """Show a study as a page draws it: a bounded number of points, however many trials it has."""
    return study_view(view, view.studies.named(study_id), lines)


@router.post("/studies/check", tags=["studies"], dependencies=[needs("write")])
def check_study(spec: Spec, request: Request, settings: ServerSettings) -> shapes.SpecCheck:
    """Check a StudySpec and start nothing: every problem by its path, or what would be searched.

    Whatever is wrong with it is an answer here, no refusal.
    """
    computes_here = settings.compute == "embedded"
    return checked(store_of(request), spec, computes_here)


@router.get("/workers", tags=["device hosts"], dependencies=[needs("read"), WAITS])
def list_workers(view: View, settings: ServerSettings) -> shapes.WorkOverview:
    """Say what compute and every device host do now, and what waits for them."""
    return work_overview(view, settings)
