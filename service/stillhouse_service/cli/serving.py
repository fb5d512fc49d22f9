"""`stillhouse serve`: the server itself.

Depends on: typer; the server, which is imported when it is asked for: it brings torch along.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any

import typer

from stillhouse_benchmark import logs
from stillhouse_service import tracing
from stillhouse_service.cli.config import unknown_lines
from stillhouse_service.cli.options import Config
from stillhouse_service.configuration import configured

_log = logging.getLogger(__name__)


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
    config: Config = None,
) -> None:
    """Serve until Ctrl-C. What is not given comes from STILLHOUSE_*, then from stillhouse.toml."""
    from stillhouse_service.server import serve as serve_with

    given: dict[str, Any] = {
        "host": host,
        "port": port,
        "database_url": database,
        "artifact_dir": artifacts,
        "compute": compute,
    }
    found = configured(given, config)
    settings = found.settings
    logs.tell_stacks_when_asked()
    logs.configure(settings.log_format, settings.log_level)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for line in unknown_lines(found.unknown):
        _log.warning(line)
    url = f"http://{settings.host}:{settings.port}"
    typer.echo(f"Stillhouse at {url}, also for a browser (API page: {url}/docs); Ctrl-C ends it")
    with tracing.sent():
        serve_with(settings)
