"""Studies over HTTP.

Depends on: fastapi.
"""

from __future__ import annotations

from fastapi import Request

from stillhouse_service import enqueue, lives, schemas, twins, views
from stillhouse_service.repositories.pages import read_number, to_token
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import (
    WAITS,
    Key,
    PageSize,
    PageToken,
    SeenBefore,
    ServerSettings,
    View,
    Work,
    problems,
    store_of,
    user_of,
)
from stillhouse_service.routes.router import Router

router = Router(prefix="/v1/studies", tags=["studies"])


@router.post("", status_code=201, responses=problems(422), dependencies=[needs("write")])
def create_study(
    spec: schemas.StudySpec, request: Request, settings: ServerSettings, once: Key
) -> schemas.Study:
    """Check a study and start it; every problem is named by its path."""
    store = store_of(request)
    computes_here = settings.compute == "embedded"
    study_id = lives.create_study(store, spec, computes_here, user_of(request), once)
    with store.read() as view:
        return views.study(view, view.studies.named(study_id))


@router.get("/{study_id}", responses=problems(404), dependencies=[needs("read"), WAITS])
def show_study(study_id: str, view: View, seen: SeenBefore, request: Request) -> schemas.Study:
    """Show a study: where it stands, its incumbent, the time left."""
    if seen.is_poll:  # mostly there is nothing new
        with store_of(request).glance() as glance:
            seen.compare(glance.studies.version_of(study_id))
    seen.compare(view.studies.version_of(study_id))
    return views.study(view, view.studies.named(study_id))


@router.post(
    "/{study_id}/clone",
    status_code=201,
    responses=problems(404, 409, 422),
    dependencies=[needs("write")],
)
def clone_study(
    study_id: str,
    changes: schemas.StudyChanges,
    request: Request,
    settings: ServerSettings,
    once: Key,
) -> schemas.Study:
    """Start a study like another, but for what is sent; its trials are its own."""
    store = store_of(request)
    with store.read() as view:
        spec = lives.changed(view.studies.named(study_id), changes)
    computes_here = settings.compute == "embedded"
    made = lives.create_study(store, spec, computes_here, user_of(request), once)
    with store.read() as view:
        return views.study(view, view.studies.named(made))


@router.post("/{study_id}/priority", responses=problems(404, 409), dependencies=[needs("write")])
def set_priority(study_id: str, wanted: schemas.PriorityIn, work: Work, once: Key) -> schemas.Study:
    """Let a study's work go before (or after) that of others; also what waits already."""
    once.do(work, lambda: lives.set_priority(work, study_id, wanted.priority).id)
    return views.study(work, work.studies.named(study_id))


@router.post(
    "/{study_id}/trials",
    status_code=201,
    responses=problems(404, 409, 422),
    dependencies=[needs("write")],
)
def enqueue_trial(
    study_id: str, wanted: schemas.TrialIn, request: Request, once: Key
) -> schemas.Trial:
    """Run a config of the user's own as the study's next trial; the optimizer learns from it.

    One that builds the network of a complete trial and trains it in the same way is not run: it has
    that trial's result at once (`twin_of`), and costs no budget.
    """
    store = store_of(request)
    twins.prepare(store, study_id)
    with store.begin(user_of(request)) as work:
        trial_id = once.do(work, lambda: enqueue.enqueue(work, study_id, wanted.config).id)
        return views.trial(work.trials.named(trial_id))


@router.post("/{study_id}/cancel", responses=problems(404, 409), dependencies=[needs("write")])
def cancel_study(study_id: str, work: Work, once: Key) -> schemas.Study:
    """End a study and everything of it that is under way."""
    once.do(work, lambda: lives.cancel_study(work, study_id).id)
    return views.study(work, work.studies.named(study_id))


@router.post("/{study_id}/pause", responses=problems(404, 409), dependencies=[needs("write")])
def pause_study(study_id: str, work: Work, once: Key) -> schemas.Study:
    """Start no more trials; those on their way go on."""
    once.do(work, lambda: lives.pause_study(work, study_id).id)
    return views.study(work, work.studies.named(study_id))


@router.post("/{study_id}/resume", responses=problems(404, 409), dependencies=[needs("write")])
def resume_study(study_id: str, work: Work, once: Key) -> schemas.Study:
    """Go on with a paused study."""
    once.do(work, lambda: lives.resume_study(work, study_id).id)
    return views.study(work, work.studies.named(study_id))


@router.get("/{study_id}/events", responses=problems(404, 422), dependencies=[needs("read")])
def list_events(
    study_id: str, view: View, page_size: PageSize = 100, page_token: PageToken = None
) -> schemas.Events:
    """List what happened in a study and its trials, oldest first: who, when, what, why."""
    view.studies.named(study_id)
    rows = view.log.events_of_study(study_id, page_size + 1, read_number(page_token))
    shown = rows[:page_size]
    return schemas.Events(
        items=[views.event(row) for row in shown],
        next_page_token=to_token(str(shown[-1].id)) if len(rows) > page_size else None,
    )
