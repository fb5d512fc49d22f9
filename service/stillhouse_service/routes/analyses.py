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
from stillhouse_service.routes.context import ServerSettings, problems
from stillhouse_service.routes.operations import ACCEPTED, Long, accepted


def analyses_of(request: Request) -> Analyses:
    """The app's analyses."""
    return cast(Analyses, request.app.state.analyses)


Analysed = Annotated[Analyses, Depends(analyses_of)]
router = APIRouter(prefix="/v1/studies", tags=["studies"])
_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}}}}


@router.get(
    "/{study_id}/importance",
    response_model=schemas.Importance,
    responses=problems(404, 422) | _CSV | ACCEPTED,
    dependencies=[needs("read")],
)
def show_importance(
    study_id: str,
    analyses: Analysed,
    operations: Long,
    settings: ServerSettings,
    format: Annotated[Literal["json", "csv"], Query()] = "json",
) -> Any:
    """Say which parameters mattered, which way to turn them, and whether the data allows it."""
    n = analyses.is_long(study_id, settings.n_trials_large)
    if n is not None and format == "csv":

        def as_csv() -> tuple[bytes, str]:
            return analyses.importance_csv(study_id).encode(), "text/csv"

        return accepted(operations.start("importance-csv", study_id, n, as_csv))
    if n is not None:

        def as_json() -> tuple[bytes, str]:
            found = schemas.Importance.model_validate(analyses.importance(study_id))
            return found.model_dump_json().encode(), "application/json"

        return accepted(operations.start("importance", study_id, n, as_json))
    if format == "csv":
        name = f'attachment; filename="importance-{study_id}.csv"'
        headers = {"Content-Disposition": name}
        return Response(analyses.importance_csv(study_id), media_type="text/csv", headers=headers)
    return analyses.importance(study_id)


@router.get(
    "/{study_id}/report",
    response_class=HTMLResponse,
    responses=problems(404, 409) | ACCEPTED,
    dependencies=[needs("read")],
)
def show_report(
    study_id: str, analyses: Analysed, operations: Long, settings: ServerSettings
) -> Response:
    """Give the report: one HTML page that loads nothing from anywhere."""
    n = analyses.is_long(study_id, settings.n_trials_large)
    if n is not None:

        def as_page() -> tuple[bytes, str]:
            return analyses.report(study_id).encode(), "text/html"

        return accepted(operations.start("report", study_id, n, as_page))
    return HTMLResponse(analyses.report(study_id))
