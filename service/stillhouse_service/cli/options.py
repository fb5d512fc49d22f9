"""Options that many commands share.

Depends on: typer.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
import yaml

from stillhouse_service.errors import Problem, SpecRejected
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


def read_settings(settings: list[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` options; a value is YAML."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise SpecRejected([Problem("--set", f"wanted NAME=VALUE, got {setting!r}")])
        found[name] = yaml.safe_load(text)
    return found
