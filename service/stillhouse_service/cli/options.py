"""Options that many commands share.

Depends on: typer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.settings import Settings

DEFAULT_SERVER = f"http://127.0.0.1:{Settings().port}"

Server = Annotated[
    str, typer.Option("--server", envvar="STILLHOUSE_SERVER", help="The server's address.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Settings; else STILLHOUSE_CONFIG, else ./stillhouse.toml if there is one."
    ),
]


def _configured(name: str) -> Callable[[typer.Context, str], str]:
    """Let an option that is not given have a setting's value; not for help or completion."""

    def choose(context: typer.Context, value: str) -> str:
        if value or context.resilient_parsing:
            return value
        from stillhouse_service.configuration import configured

        return str(getattr(configured().settings, name))

    return choose


CONFIGURED = ""  # the setting's, from STILLHOUSE_*, stillhouse.toml or its default
Database = Annotated[
    str,
    typer.Option(
        "--database",
        help="SQLAlchemy URL; a SQLite file or Postgres. Else the server's setting.",
        callback=_configured("database_url"),
        show_default=False,
    ),
]
Artifacts = Annotated[
    str,
    typer.Option(
        "--artifacts",
        help="The server's folder or URL. Else the server's setting.",
        callback=_configured("artifact_dir"),
        show_default=False,
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
