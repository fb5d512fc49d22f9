"""Trials over HTTP.

Depends on: fastapi.
"""

from __future__ import annotations

from stillhouse_service import schemas, views
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import WAITS, View, problems
from stillhouse_service.routes.router import Router

router = Router(prefix="/v1/trials", tags=["trials"])


@router.get("/{trial_id}", responses=problems(404), dependencies=[needs("read"), WAITS])
def show_trial(trial_id: str, view: View) -> schemas.TrialDetail:
    """Show a trial with its schedule, layers, events and measurements."""
    return views.trial_detail(view, view.trials.detailed(trial_id))
