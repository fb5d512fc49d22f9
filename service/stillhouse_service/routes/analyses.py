"""A study's importance and report over HTTP.

Depends on: fastapi.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse

from stillhouse_service import schemas
from stillhouse_service.analyses import Analyses
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import problems


def analyses_of(request: Request) -> Analyses:
    """The app's analyses."""
    return cast(Analyses, request.app.state.analyses)


Analysed = Annotated[Analyses, Depends(analyses_of)]
router = APIRouter(prefix="/v1/studies", tags=["studies"])
_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}}}}


@router.get(
    "/{study_id}/importance",
    response_model=schemas.Importance,
    responses=problems(404, 422) | _CSV,
    dependencies=[needs("read")],
)
def show_importance(
    study_id: str,
    analyses: Analysed,
    format: Annotated[Literal["json", "csv"], Query()] = "json",
) -> Any:
    """Say which parameters mattered, which way to turn them, and whether the data allows it."""
    if format == "csv":
        name = f'attachment; filename="importance-{study_id}.csv"'
        headers = {"Content-Disposition": name}
        return Response(analyses.importance_csv(study_id), media_type="text/csv", headers=headers)
    return analyses.importance(study_id)


@router.get(
    "/{study_id}/report",
    response_class=HTMLResponse,
    responses=problems(404, 409),
    dependencies=[needs("read")],
)
def show_report(study_id: str, analyses: Analysed) -> HTMLResponse:
    """Give the report: one HTML page that loads nothing from anywhere."""
    return HTMLResponse(analyses.report(study_id))
