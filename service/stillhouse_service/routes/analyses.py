"""A study's importance and report over HTTP.

Depends on: fastapi.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from stillhouse_service import report, schemas
from stillhouse_service.analyses import Analyses
from stillhouse_service.parquet import MEDIA_TYPE as PARQUET
from stillhouse_service.parquet import check_parquet
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import problems

# Shorter than a client's patience: who has waited so long is told to ask again.
_WAIT_S = 10.0
_AGAIN_S = 2


def analyses_of(request: Request) -> Analyses:
    """The app's analyses."""
    return cast(Analyses, request.app.state.analyses)


Analysed = Annotated[Analyses, Depends(analyses_of)]
router = APIRouter(prefix="/v1/studies", tags=["studies"])
_SAID: dict[str, Any] = {"application/json": {}, "text/csv": {}, "text/html": {}, PARQUET: {}}
_COMPUTING: dict[int | str, dict[str, Any]] = {
    202: {"model": schemas.Computing, "description": "Still being worked out: ask again"}
}


@router.get(
    "/{study_id}/importance",
    response_model=schemas.Importance,
    responses=problems(404, 422, 501) | _COMPUTING | {200: {"content": _SAID}},
    dependencies=[needs("read")],
)
def show_importance(
    study_id: str,
    analyses: Analysed,
    format: Annotated[Literal["json", "csv", "html", "parquet"], Query()] = "json",
    pairs: Annotated[
        int | None, Query(ge=0, description="so many pairs, the strongest first; else all")
    ] = None,
) -> Any:
    """Say which parameters mattered, which way to turn them, and whether the data allows it."""
    if format == "parquet":
        check_parquet()
    found = analyses.importance(study_id, _WAIT_S)
    if found is None:
        return _computing(study_id)
    if pairs is not None:
        found = found | {
            "metrics": {
                metric: one | {"pairs": one["pairs"][:pairs]}
                for metric, one in found["metrics"].items()
            }
        }
    if format == "csv":
        return _file(report.importance_csv(found), "text/csv", f"importance-{study_id}.csv")
    if format == "parquet":
        name = f"importance-{study_id}.parquet"
        return _file(report.importance_parquet(found), PARQUET, name)
    if format == "html":
        return Response(analyses.importance_page(study_id, found), media_type="text/html")
    return found


@router.get(
    "/{study_id}/report",
    responses=problems(404, 422)
    | _COMPUTING
    | {200: {"content": {"text/html": {}, "text/markdown": {}, "application/json": {}}}},
    response_class=Response,
    dependencies=[needs("read")],
)
def show_report(
    study_id: str, analyses: Analysed, format: Annotated[report.Form, Query()] = "html"
) -> Response:
    """Give the report: one HTML page that loads nothing from anywhere, Markdown, or JSON."""
    said = analyses.report(study_id, format, _WAIT_S)
    if said is None:
        return _computing(study_id)
    kinds = {"html": "text/html", "md": "text/markdown", "json": "application/json"}
    return Response(said, media_type=kinds[format])


def _file(content: str | bytes, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)


def _computing(study_id: str) -> Response:
    body = schemas.Computing(study_id=study_id).model_dump()
    return JSONResponse(body, status_code=202, headers={"Retry-After": str(_AGAIN_S)})
