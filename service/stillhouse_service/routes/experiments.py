"""Experiments over HTTP.

Depends on: fastapi.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse

from stillhouse_service import experiments
from stillhouse_service.experiment_evaluations import evaluate
from stillhouse_service.experiment_results import read_results, to_csv, to_parquet
from stillhouse_service.parquet import MEDIA_TYPE as PARQUET
from stillhouse_service.report.experiment_page import render_experiment
from stillhouse_service.repositories.pages import cursor_token, read_cursor
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import (
    WAITS,
    Artifacts,
    Key,
    PageSize,
    PageToken,
    View,
    Work,
    problems,
    store_of,
    user_of,
)
from stillhouse_service.routes.router import Router
from stillhouse_service.schemas import experiments as shapes

router = Router(prefix="/v1/experiments", tags=["experiments"])
_FILES: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}, PARQUET: {}}}}


@router.post("", status_code=201, responses=problems(422), dependencies=[needs("write")])
def create_experiment(
    wanted: shapes.ExperimentIn, request: Request, artifacts: Artifacts, once: Key
) -> shapes.Experiment:
    """Start a stage of the research plan; every problem is named by its path."""
    store = store_of(request)
    experiment_id = experiments.create(store, artifacts, wanted, user_of(request), once)
    with store.read() as view:
        return experiments.show(view, view.experiments.named(experiment_id))


@router.post("/plan", responses=problems(422), dependencies=[needs("write")])
def plan_experiment(wanted: shapes.ExperimentIn, view: View, artifacts: Artifacts) -> shapes.Plan:
    """Say which trials an experiment would run and how long that would take; start nothing."""
    return experiments.plan(view, artifacts, wanted)


@router.get("", responses=problems(422), dependencies=[needs("read")])
def list_experiments(
    view: View, page_size: PageSize = 50, page_token: PageToken = None
) -> shapes.Experiments:
    """List experiments, newest first."""
    rows = view.experiments.newest(page_size + 1, read_cursor(page_token))
    shown = rows[:page_size]
    is_more = len(rows) > page_size
    return shapes.Experiments(
        items=[experiments.show(view, row) for row in shown],
        next_page_token=cursor_token(shown[-1].created_at, shown[-1].id) if is_more else None,
    )


@router.get("/{experiment_id}", responses=problems(404), dependencies=[needs("read"), WAITS])
def show_experiment(experiment_id: str, view: View) -> shapes.Experiment:
    """Show an experiment: its studies, how far they are, the time left."""
    return experiments.show(view, view.experiments.named(experiment_id))


@router.post("/{experiment_id}/cancel", responses=problems(404), dependencies=[needs("write")])
def cancel_experiment(experiment_id: str, work: Work, once: Key) -> shapes.Experiment:
    """End what of an experiment is under way; finished trials stay."""
    once.do(work, lambda: experiments.cancel(work, experiment_id).id)
    return experiments.show(work, work.experiments.named(experiment_id))


@router.post("/{experiment_id}/resume", responses=problems(404), dependencies=[needs("write")])
def resume_experiment(experiment_id: str, work: Work, once: Key) -> shapes.Experiment:
    """Go on with what of an experiment is paused."""
    once.do(work, lambda: experiments.resume(work, experiment_id).id)
    return experiments.show(work, work.experiments.named(experiment_id))


@router.get(
    "/{experiment_id}/results",
    responses=problems(404, 422, 501) | _FILES,
    dependencies=[needs("read")],
)
def show_results(
    experiment_id: str,
    view: View,
    format: Annotated[Literal["json", "csv", "parquet"], Query()] = "json",
    table: Annotated[Literal["trials", "layers"], Query()] = "trials",
) -> Any:
    """Give an experiment's trials, or the layers of each, as flat rows."""
    rows = read_results(view, view.experiments.named(experiment_id)).table(table)
    if format == "json":
        return {"experiment": experiment_id, "table": table, "items": rows}
    name = f'attachment; filename="{experiment_id}-{table}.{format}"'
    headers = {"Content-Disposition": name}
    if format == "csv":
        return Response(to_csv(rows), media_type="text/csv", headers=headers)
    return Response(to_parquet(rows), media_type=PARQUET, headers=headers)


@router.get("/{experiment_id}/analysis", responses=problems(404), dependencies=[needs("read")])
def show_analysis(experiment_id: str, view: View) -> dict[str, Any]:
    """Compare an experiment's trials with their baseline: `analyses`, one a baseline and device."""
    return {
        "experiment": experiment_id,
        "analyses": evaluate(view, view.experiments.named(experiment_id)),
    }


@router.get(
    "/{experiment_id}/report",
    response_class=HTMLResponse,
    responses=problems(404),
    dependencies=[needs("read")],
)
def show_report(experiment_id: str, view: View) -> HTMLResponse:
    """Give an experiment's report: one HTML page that loads nothing from anywhere."""
    experiment = view.experiments.named(experiment_id)
    shown = experiments.show(view, experiment).model_dump(mode="json")
    return HTMLResponse(render_experiment(shown, evaluate(view, experiment)))


@router.get("/{experiment_id}/template", responses=problems(404, 409), dependencies=[needs("read")])
def show_template(
    experiment_id: str,
    view: View,
    study: Annotated[str | None, Query(description="of its studies; the first")] = None,
) -> dict[str, str]:
    """Write the search template that a sweep's findings call for: `template`, `training`."""
    from stillhouse_service.sweep_templates import from_sweep  # on use: it loads torch

    return from_sweep(view, view.experiments.named(experiment_id), study)
