"""A study's importance and report over HTTP.

Depends on: fastapi.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, cast

from fastapi import Depends, Query, Request, Response

from stillhouse_service import report, schemas
from stillhouse_service.analyses import Analyses
from stillhouse_service.parquet import MEDIA_TYPE as PARQUET
from stillhouse_service.parquet import check_parquet
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import ServerSettings, problems
from stillhouse_service.routes.operations import ACCEPTED, Long, accepted
from stillhouse_service.routes.router import Router


def analyses_of(request: Request) -> Analyses:
    """The app's analyses."""
    return cast(Analyses, request.app.state.analyses)


Analysed = Annotated[Analyses, Depends(analyses_of)]
Form = Literal["json", "csv", "html", "parquet"]
router = Router(prefix="/v1/studies", tags=["studies"])
_TYPES = {"json": "application/json", "csv": "text/csv", "html": "text/html", "parquet": PARQUET}
_REPORTS = {"html": "text/html", "md": "text/markdown", "json": "application/json"}
Answers = dict[int | str, dict[str, Any]]
_SAYS: Answers = {200: {"content": {kind: {} for kind in _TYPES.values()}}}
_REPORTED: Answers = {200: {"content": {kind: {} for kind in _REPORTS.values()}}}


@router.get(
    "/{study_id}/importance",
    response_model=schemas.Importance,
    responses=problems(404, 409, 422, 501) | ACCEPTED | _SAYS,
    dependencies=[needs("read")],
)
def show_importance(
    study_id: str,
    analyses: Analysed,
    operations: Long,
    settings: ServerSettings,
    format: Annotated[Form, Query()] = "json",
    pairs: Annotated[
        int | None, Query(ge=0, description="so many pairs, the strongest first; else all")
    ] = None,
) -> Any:
    """Say which parameters mattered, which way to turn them, and whether the data allows it."""
    if format == "parquet":
        check_parquet()
    make = _importance_maker(analyses, study_id, format, pairs)
    known = analyses.is_long(study_id, settings.n_trials_large)
    if known is not None:
        kind = f"importance-{format}" if format != "json" else "importance"
        return accepted(operations.start(kind, study_id, (known, pairs), make))
    content, media_type = make()
    named = {"csv", "parquet"} & {format}
    name = f'attachment; filename="importance-{study_id}.{format}"'
    headers = {"Content-Disposition": name} if named else {}
    return Response(content, media_type=media_type, headers=headers)


def _importance_maker(
    analyses: Analyses, study_id: str, form: Form, pairs: int | None
) -> Callable[[], tuple[bytes, str]]:
    def make() -> tuple[bytes, str]:
        if form == "html":
            return analyses.importance_page(study_id).encode(), _TYPES[form]
        found = analyses.importance(study_id)
        found = found | {
            "metrics": {
                metric: one | {"pairs": one["pairs"][:pairs]}
                for metric, one in found["metrics"].items()
            }
        }
        if form == "csv":
            return report.importance_csv(found).encode(), _TYPES[form]
        if form == "parquet":
            return report.importance_parquet(found), _TYPES[form]
        shown = schemas.Importance.model_validate(found)
        return shown.model_dump_json(by_alias=True).encode(), _TYPES[form]

    return make


@router.get(
    "/{study_id}/report",
    responses=problems(404, 409, 422) | ACCEPTED | _REPORTED,
    response_class=Response,
    dependencies=[needs("read")],
)
def show_report(
    study_id: str,
    analyses: Analysed,
    operations: Long,
    settings: ServerSettings,
    format: Annotated[report.Form, Query()] = "html",
) -> Response:
    """Give the report: one HTML page that loads nothing from anywhere, Markdown, or JSON."""

    def make() -> tuple[bytes, str]:
        return analyses.report(study_id, format).encode(), _REPORTS[format]

    known = analyses.is_long(study_id, settings.n_trials_large)
    if known is not None:
        kind = f"report-{format}" if format != "html" else "report"
        return accepted(operations.start(kind, study_id, known, make))
    content, media_type = make()
    return Response(content, media_type=media_type)
