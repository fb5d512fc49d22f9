"""Finalising a study's winner over HTTP.

Depends on: fastapi.
"""

from __future__ import annotations

from fastapi import Request

from stillhouse_service import experiments, finalizations
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import Key, problems, store_of, user_of
from stillhouse_service.routes.router import Router
from stillhouse_service.schemas import experiments as shapes

router = Router(prefix="/v1/studies", tags=["studies"])


@router.post(
    "/{study_id}/finalize",
    status_code=201,
    responses=problems(404, 409, 422),
    dependencies=[needs("write")],
)
def finalize_study(
    study_id: str, wanted: shapes.FinalizeIn, request: Request, once: Key
) -> shapes.Experiment:
    """Train a study's winner at full length and measure it on the test split."""
    store = store_of(request)
    made = finalizations.finalize(store, study_id, wanted, user_of(request), once)
    with store.read() as view:
        return experiments.show(view, view.experiments.named(made))
