"""Runs the application until it is told to end.

Depends on: uvicorn.
"""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from stillhouse_service.app import build_app
from stillhouse_service.artifact_places import Folder, place_of
from stillhouse_service.errors import Conflict
from stillhouse_service.installation import claim
from stillhouse_service.settings import Settings

_SWITCH_S = 0.001  # so often a proposal that computes lets those in who wait for an answer
_DRAIN_S = 5  # for answers under way when the server is told to end


class _Server(uvicorn.Server):
    """Lets long polls end at once when the process is told to end."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Answer the waiting device hosts, then end as uvicorn does."""
        self._app.state.is_stopping.set()
        self._app.state.waiting_hosts.close()
        self._app.state.news_bell.ring()
        super().handle_exit(sig, frame)


@contextmanager
def _holding(store: str | Path, *, alone: bool) -> Iterator[None]:
    """Hold the artifact folder; alone, or together with the other servers of a Postgres.

    Without it two servers of SQLite would take each other's stages back. Behind a URL there is no
    lock: there one server only is the operator's to see to, unless the database is a Postgres.
    """
    place = place_of(store)
    if not isinstance(place, Folder):
        yield
        return
    folder = place.path
    with (folder / "server.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another server uses {folder.resolve()}: end it first, or name another folder"
                + (" (several servers of one database need Postgres)" if alone else "")
            ) from None
        yield


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; an empty database is made ours first.

    Raises:
        SchemaMismatch: The database holds something else than this version's schema.
        Conflict: Another server uses the same artifact folder, and not the same Postgres; or it
            would listen to others than this machine while no token has been made.
    """
    is_alone = settings.database_url.startswith("sqlite")
    with _holding(settings.artifact_dir, alone=is_alone):
        app = build_app(settings)
        with app.state.store.read() as view:
            is_safe = settings.is_local or view.tokens.is_any_live(view.now)
        if not is_safe:
            raise Conflict(
                f"{settings.host} can be reached from elsewhere and nobody has a token yet: make "
                "one first, `stillhouse token create NAME --scope admin`, or listen on 127.0.0.1"
            )
        if not is_alone:
            claim(app.state.store, app.state.artifacts.place)
        _serve(app, settings)


def _serve(app: FastAPI, settings: Settings) -> None:
    sys.setswitchinterval(_SWITCH_S)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        log_config=None,  # its lines are the process's
        timeout_graceful_shutdown=_DRAIN_S,
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when all has been put away
        _Server(config, app).run()
