"""The application: database, routes, error handler, driver; no logic.

Depends on: fastapi, uvicorn.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from importlib.metadata import version

from fastapi import Depends, FastAPI

from stillhouse_service import readiness, tracing
from stillhouse_service.analyses import Analyses
from stillhouse_service.announcements import Announcements, Commit
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.asking import Asking
from stillhouse_service.bell import Bell
from stillhouse_service.contract import install_contract
from stillhouse_service.database import open_engine, prepare, wait_for
from stillhouse_service.deliveries import Deliverer
from stillhouse_service.driver import Driver
from stillhouse_service.guard import Guard
from stillhouse_service.ids import utc_now
from stillhouse_service.instruments import RequestTimes
from stillhouse_service.leadership import Leadership
from stillhouse_service.lease_desk import LeaseDesk
from stillhouse_service.limits import BodyLimit
from stillhouse_service.loading import load, load_in_order
from stillhouse_service.looks import Looks
from stillhouse_service.metrics import Metrics
from stillhouse_service.operations import Operations
from stillhouse_service.polls import Polls
from stillhouse_service.problem_documents import install_handlers
from stillhouse_service.rates import RateLimit
from stillhouse_service.ready import Readiness
from stillhouse_service.request_log import RequestLog
from stillhouse_service.routes import (
    analyses,
    asking,
    baselines,
    devices,
    experiments,
    finalizations,
    fronts,
    health,
    lists,
    metrics,
    networks,
    overview,
    pages,
    problem_pages,
    server,
    streams,
    studies,
    tokens,
    transfers,
    trials,
    webhooks,
)
from stillhouse_service.routes import (
    operations as operation_routes,
)
from stillhouse_service.routes.context import names_something
from stillhouse_service.settings import Settings
from stillhouse_service.store import Store
from stillhouse_service.waiting_hosts import WaitingHosts

_STREAM_BREATH_S = 0.05  # events come in bursts
_N_STREAM_LOOKS = 2  # at once, for all who listen
_DESCRIPTION = """\
Finds the compression schedule that makes a neural network fastest on your own edge device within
an accuracy limit. Train a baseline, create a study, watch its trials; device hosts lease jobs.

Fractions lie in 0..1, units are in the names (`_ms`, `_s`, `_bytes`), times are UTC. Every error
is an `application/problem+json` document.
"""


def build_app(settings: Settings, clock: Callable[[], datetime] | None = None) -> FastAPI:
    """Put the application together; its driver and compute start and end with its lifespan.

    Args:
        settings: How the server runs.
        clock: Stamps every row; tests may bring their own. Else that of `Store`.

    Raises:
        SchemaMismatch: The database holds something else than this version's schema.
        DatabaseUnusable: It cannot be opened, or does not answer for a minute.
    """
    load_in_order()
    engine = open_engine(settings.database_url)
    wait_for(engine)
    revision = prepare(engine)
    store = Store(engine, clock)
    artifacts = ArtifactStore(settings.artifact_dir, settings.max_artifact_bytes)
    news_bell, waiting_hosts = Bell(), WaitingHosts(store)
    is_stopping = threading.Event()
    operations = Operations(news_bell.ring, clock or utc_now)
    leadership = Leadership(engine, store, settings.driver_lease_s)
    driver = Driver(store, artifacts, settings, leadership)
    explained = Analyses(store)
    deliverer = Deliverer(store, settings, leadership)
    announcements = Announcements(engine, store)

    guard = Guard(store)

    def on_commit(commit: Commit) -> None:
        if "tokens" in commit.topics:
            guard.forget()
        if "jobs" in commit.topics:
            waiting_hosts.ring()
        news_bell.ring(commit.changed)
        deliverer.wake(is_new_webhook="webhooks" in commit.topics)
        if "driver" in commit.topics:
            driver.wake(commit.moved or ())

    store.on_commit(on_commit)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        load()
        announcements.start()
        leadership.start()
        driver.start()
        deliverer.start()
        try:
            yield
        finally:
            is_stopping.set()
            waiting_hosts.close()
            news_bell.ring()
            explained.close()
            driver.stop()
            deliverer.stop()
            leadership.stop()  # after all that only its holder may write
            announcements.stop()
            operations.stop()
            engine.dispose()

    app = FastAPI(
        title="Stillhouse",
        version=version("stillhouse"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        dependencies=[Depends(names_something)],
        **tracing.of_requests(),
    )
    app.state.settings = settings
    app.state.is_guarded = not settings.is_local
    app.state.engine = engine
    app.state.store = store
    app.state.guard = guard
    app.state.artifacts = artifacts
    app.state.analyses = explained
    app.state.asking = Asking(store)
    app.state.operations = operations
    app.state.schema_revision = revision
    app.state.metrics = Metrics(store, settings, driver.compute_size)
    app.state.readiness = Readiness(
        {
            "database": partial(readiness.database, engine),
            "schema": partial(readiness.schema, engine, revision),
            "artifacts": partial(readiness.artifacts, artifacts.place),
            "room": partial(readiness.room, artifacts.place, engine, settings.min_free_bytes),
            "compute": lambda: readiness.compute(settings, driver.compute_problem),
            "driver": lambda: readiness.driver(driver.is_alive, *driver.step()),
            "clock": partial(readiness.clock, engine, clock or utc_now),
        }
    )
    app.state.lease_desk = LeaseDesk(store, settings)
    app.state.news_bell, app.state.waiting_hosts = news_bell, waiting_hosts
    app.state.stream_looks = Looks(_STREAM_BREATH_S, _N_STREAM_LOOKS)
    app.state.is_stopping = is_stopping
    app.state.leadership = leadership
    install_handlers(app)
    for part in (
        health,
        metrics,
        server,
        networks,
        problem_pages,
        baselines,
        lists,
        studies,
        streams,
        trials,
        asking,
        analyses,
        devices,
        experiments,
        finalizations,
        fronts,
        transfers,
        tokens,
        webhooks,
        operation_routes,
        overview,
        pages,
    ):
        app.include_router(part.router)
    app.include_router(devices.host_router)
    install_contract(app)
    app.add_middleware(RequestTimes)  # the innermost
    app.add_middleware(Polls, news=news_bell, is_stopping=is_stopping)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(RateLimit, rate_per_s=settings.rate_per_s, is_local=settings.is_local)
    app.add_middleware(RequestLog)  # the outermost
    return app
