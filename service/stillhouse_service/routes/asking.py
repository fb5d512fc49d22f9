"""Ask and tell over HTTP.

Depends on: fastapi.
"""

from __future__ import annotations

from typing import cast

from fastapi import Request

from stillhouse_service import asking, imports, schemas, views
from stillhouse_service.asking import Asking
from stillhouse_service.failures import Failure
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import (
    Key,
    ServerSettings,
    Work,
    problems,
    store_of,
    user_of,
)
from stillhouse_service.routes.router import Router

router = Router(prefix="/v1", tags=["ask and tell"])


@router.post(
    "/studies/{study_id}/ask", responses=problems(404, 409, 422), dependencies=[needs("write")]
)
def ask(study_id: str, wanted: schemas.AskIn, request: Request, once: Key) -> schemas.Asked:
    """Get the next configs of a study whose trials are run outside."""
    giving = cast(Asking, request.app.state.asking)
    given = giving.ask(study_id, wanted.n, wanted.lease_s, user_of(request), once)
    with store_of(request).read() as view:
        items = [views.asked(view, attempt_id) for attempt_id in given.attempts]
    return schemas.Asked(items=items, reason=given.reason)


@router.post(
    "/studies/{study_id}/trials/import",
    status_code=201,
    responses=problems(404, 409, 422),
    dependencies=[needs("write")],
)
def import_trials(
    study_id: str, wanted: schemas.ImportIn, work: Work, once: Key
) -> schemas.Imported:
    """Bring trials that were run elsewhere into a study: all, or none with every reason."""
    made = once.do_all(work, study_id, lambda: imports.bring(work, study_id, wanted))
    return schemas.Imported(n=len(made), trial_ids=list(made))


@router.post(
    "/trials/{trial_id}/tell", responses=problems(404, 409, 422), dependencies=[needs("write")]
)
def tell(
    trial_id: str, told: schemas.TellIn, work: Work, settings: ServerSettings, once: Key
) -> schemas.Trial:
    """Tell what came of an asked trial: metrics or a failure; again is harmless."""

    def act() -> str:
        if told.metrics is not None:
            return asking.tell(work, trial_id, told.token, told.metrics).id
        assert told.failure is not None
        failure = Failure("outside", told.failure.failure_class, told.failure.reason)
        return asking.tell_failure(work, trial_id, told.token, failure, settings).id

    return views.trial(work.trials.named(once.do(work, act)))


@router.post(
    "/trials/{trial_id}/extend", responses=problems(404, 409, 422), dependencies=[needs("write")]
)
def extend(trial_id: str, wanted: schemas.ExtendIn, work: Work) -> schemas.Extended:
    """Keep an asked trial for longer; needs no key, as the last one sent counts."""
    attempt, is_cancelled = asking.extend(
        work, trial_id, wanted.token, wanted.lease_s, wanted.progress
    )
    return schemas.Extended(expires_at=attempt.expires_at or work.now, is_cancelled=is_cancelled)
