"""Lists of studies and trials over HTTP: filters, order, pages.

Depends on: fastapi.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime

from stillhouse_service import schemas, views
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.parquet import MEDIA_TYPE as PARQUET
from stillhouse_service.parquet import check_parquet
from stillhouse_service.repositories.filters import StudyFilter, StudyOrder, TrialFilter
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import PageSize, PageToken, View, problems, store_of
from stillhouse_service.routes.router import Router
from stillhouse_service.states import StudyState, TrialState
from stillhouse_service.trial_table import TrialTable

router = Router(prefix="/v1/studies", tags=["studies"])
Moment = Annotated[AwareDatetime | None, Query(description="RFC 3339, with its zone")]
TEXT = r"^[^\x00]*$"  # no database finds a NUL


@router.get("", responses=problems(422), dependencies=[needs("read")])
def list_studies(
    view: View,
    state: Annotated[list[StudyState] | None, Query(description="in any of these")] = None,
    name: Annotated[
        str | None, Query(max_length=200, pattern=TEXT, description="part of the name")
    ] = None,
    device: Annotated[
        str | None, Query(max_length=100, pattern=TEXT, description="as its spec names it")
    ] = None,
    created_after: Moment = None,
    created_before: Moment = None,
    order: StudyOrder = "-created",
    page_size: PageSize = 50,
    page_token: PageToken = None,
) -> schemas.Studies:
    """List studies, newest first unless another order is asked for."""
    wanted = StudyFilter(
        states=state or (),
        name=name,
        device=device,
        created_after=_utc("created_after", created_after),
        created_before=_utc("created_before", created_before),
        order=order,
    )
    rows = view.studies.listed(wanted, page_size + 1, page_token)
    shown = rows[:page_size]
    return schemas.Studies(
        items=views.studies(view, shown),
        next_page_token=wanted.token(shown[-1]) if len(rows) > page_size else None,
    )


@router.get(
    "/{study_id}/trials",
    response_model=schemas.Trials,
    responses=problems(404, 422, 501) | {200: {"content": {"text/csv": {}, PARQUET: {}}}},
    dependencies=[needs("read")],
)
def list_trials(
    study_id: str,
    request: Request,
    view: View,
    state: Annotated[list[TrialState] | None, Query(description="in any of these")] = None,
    is_feasible: Annotated[bool | None, Query(description="whether they keep the limits")] = None,
    order: Annotated[
        str,
        Query(
            pattern=r"^-?[A-Za-z_][A-Za-z0-9_]{0,99}$",
            description="`number`, or a metric such as `latency_ratio`, least first (trials "
            "without it are left out); `-` in front turns it round",
        ),
    ] = "number",
    page_size: PageSize = 100,
    page_token: PageToken = None,
    format: Annotated[
        Literal["json", "csv", "parquet"],
        Query(description="`csv` and `parquet` give all trials, under Optuna's column names"),
    ] = "json",
) -> Any:
    """List a study's trials, by number unless another order is asked for."""
    view.studies.named(study_id)
    if format != "json":
        if format == "parquet":
            check_parquet()
        table = TrialTable(store_of(request), study_id)
        name = f'attachment; filename="trials-{study_id}.{format}"'
        return StreamingResponse(
            table.csv_pieces() if format == "csv" else table.parquet_pieces(),
            media_type="text/csv" if format == "csv" else PARQUET,
            headers={"Content-Disposition": name},
        )
    wanted = TrialFilter(states=state or (), is_feasible=is_feasible, order=order)
    rows = view.trials.listed(study_id, wanted, page_size + 1, page_token)
    shown = rows[:page_size]
    return schemas.Trials(
        items=[views.trial(row) for row in shown],
        next_page_token=wanted.token(shown[-1]) if len(rows) > page_size else None,
    )


def _utc(name: str, moment: datetime | None) -> datetime | None:
    """Give a moment in UTC.

    Raises:
        SpecRejected: It lies outside of the years that have one.
    """
    try:
        return None if moment is None else moment.astimezone(UTC)
    except OverflowError:
        raise SpecRejected([Problem(name, "lies outside of the years 1 to 9999")]) from None
