"""Baselines over HTTP.

Depends on: fastapi.
"""

from __future__ import annotations

from stillhouse_service import lives, schemas, views
from stillhouse_service.repositories.pages import cursor_token, read_cursor
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import WAITS, Key, PageSize, PageToken, View, Work, problems
from stillhouse_service.routes.router import Router

router = Router(prefix="/v1/baselines", tags=["baselines"])


@router.post("", status_code=201, responses=problems(422), dependencies=[needs("write")])
def create_baseline(wanted: schemas.BaselineIn, work: Work, once: Key) -> schemas.Baseline:
    """Train a network to compress and compare with."""
    baseline_id = once.do(work, lambda: lives.create_baseline(work, wanted).id)
    return views.baseline(work.baselines.named(baseline_id))


@router.get("", responses=problems(422), dependencies=[needs("read")])
def list_baselines(
    view: View, page_size: PageSize = 50, page_token: PageToken = None
) -> schemas.Baselines:
    """List baselines, newest first."""
    rows = view.baselines.newest(page_size + 1, read_cursor(page_token))
    shown = rows[:page_size]
    is_more = len(rows) > page_size
    return schemas.Baselines(
        items=[views.baseline(row) for row in shown],
        next_page_token=cursor_token(shown[-1].created_at, shown[-1].id) if is_more else None,
    )


@router.get("/{baseline_id}", responses=problems(404), dependencies=[needs("read"), WAITS])
def show_baseline(baseline_id: str, view: View) -> schemas.Baseline:
    """Show a baseline and how far its training is."""
    return views.baseline(view.baselines.named(baseline_id))
