"""A study's events as they happen: server-sent events.

Depends on: fastapi.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, cast

from fastapi import Header, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from stillhouse_service import views
from stillhouse_service.bell import Bell
from stillhouse_service.looks import Looks
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import problems, store_of
from stillhouse_service.routes.router import Router
from stillhouse_service.states import is_final
from stillhouse_service.store import Store

router = Router(prefix="/v1/studies", tags=["studies"])
_N_AT_ONCE = 200
_QUIET_S = 15.0  # then a comment tells proxies and clients that the line is alive


@router.get(
    "/{study_id}/events/stream",
    response_class=StreamingResponse,
    responses=problems(401, 403, 404, 422) | {200: {"content": {"text/event-stream": {}}}},
    dependencies=[needs("read")],
)
async def stream_events(
    study_id: str,
    request: Request,
    last: Annotated[
        int, Header(alias="Last-Event-ID", ge=0, lt=2**31, description="go on after this event")
    ] = 0,
) -> StreamingResponse:
    """Stream a study's events, each with its number as `id`, until the study is over."""
    store = store_of(request)

    def check() -> None:
        with store.read() as view:
            view.studies.named(study_id)

    await run_in_threadpool(check)
    lines = _lines(request, store, study_id, last)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)


async def _lines(request: Request, store: Store, study_id: str, last: int) -> AsyncIterator[str]:
    """Give what is new whenever something is; holds no thread and no transaction in between."""
    news = cast(Bell, request.app.state.news_bell)
    looks = cast(Looks, request.app.state.stream_looks)

    def read(after: int) -> tuple[list[tuple[int, str]], bool]:
        with store.read() as view:
            rows = view.log.events_of_study(study_id, _N_AT_ONCE, after)
            is_over = is_final(view.studies.named(study_id).state)
            return [(row.id, views.event(row).model_dump_json()) for row in rows], is_over

    while not request.app.state.is_stopping.is_set():
        rung = news.subscribe(study_id)
        try:
            look = partial(run_in_threadpool, read, last)
            events, is_over = await looks.look((study_id, last), look)
            for number, text in events:
                yield f"id: {number}\nevent: event\ndata: {text}\n\n"
                last = number
            if len(events) == _N_AT_ONCE:
                continue
            if is_over:
                yield "event: end\ndata: {}\n\n"
                return
            if not await news.wait(rung, _QUIET_S, study_id):
                yield ": still here\n\n"
        finally:
            news.unsubscribe(rung, study_id)
