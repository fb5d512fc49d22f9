"""`stillhouse serve`: the server itself.

Depends on: typer; the server, which is imported when it is asked for: it brings torch along.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import Annotated, Any

import typer

from stillhouse_service.settings import Settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    database: Annotated[
        str | None, typer.Option(help="SQLAlchemy URL; a SQLite file or Postgres.")
    ] = None,
    artifacts: Annotated[
        str | None, typer.Option(help="Folder for networks and data, or a URL (s3://...).")
    ] = None,
    compute: Annotated[
        str | None,
        typer.Option(
            "--compute",
            "--dask",
            help="embedded, none, or a Dask scheduler such as tcp://host:8786 or tls://...",
        ),
    ] = None,
) -> None:
    """Serve until Ctrl-C. What is not given comes from STILLHOUSE_* in the environment."""
    from stillhouse_service.server import serve as serve_with

    given: dict[str, Any] = {
        "host": host,
        "port": port,
        "database_url": database,
        "artifact_dir": artifacts,
        "compute": compute,
    }
    settings = dataclasses.replace(
        Settings.from_environment(os.environ),
        **{name: value for name, value in given.items() if value is not None},
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    url = f"http://{settings.host}:{settings.port}"
    typer.echo(f"Stillhouse at {url}, also for a browser (API page: {url}/docs); Ctrl-C ends it")
    serve_with(settings)
