"""Options that many commands share.

Depends on: typer.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from stillhouse_service.settings import Settings

DEFAULT_SERVER = f"http://127.0.0.1:{Settings().port}"

Server = Annotated[
    str, typer.Option("--server", envvar="STILLHOUSE_SERVER", help="The server's address.")
]
DEFAULT_DATABASE = Settings.database_url
Database = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="STILLHOUSE_DATABASE_URL",
        help="SQLAlchemy URL; a SQLite file or Postgres.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON, for programs.")]


def print_json(data: Any) -> None:
    """Print JSON for a program: one document, not coloured, not wrapped."""
    typer.echo(json.dumps(data, ensure_ascii=False))
