"""`stillhouse config`: what the server's settings are, and who chose them.

Depends on: typer, rich; configuration.
"""

from __future__ import annotations

from collections.abc import Mapping

import typer
from rich.console import Console
from rich.table import Table

from stillhouse_service.cli.options import AsJson, Config, print_json
from stillhouse_service.configuration import DEFAULT, NAMES, configured

app = typer.Typer(
    no_args_is_help=True, help="The server's settings: stillhouse.toml and STILLHOUSE_*."
)


@app.callback()
def _group() -> None:
    """Stay a group of commands, though there is one only."""


@app.command()
def show(config: Config = None, as_json: AsJson = False) -> None:
    """Print every setting, its value and its origin; passwords are hidden."""
    found = configured(file=config)
    rows = {name: (found.shown(name), found.origins[name]) for name in NAMES}
    if as_json:
        settings = {
            name: {"value": value if isinstance(value, int | float) else str(value), "origin": of}
            for name, (value, of) in rows.items()
        }
        file = None if found.file is None else str(found.file)
        print_json({"file": file, "settings": settings, "unknown": dict(found.unknown)})
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("setting", "value", "origin"):
        table.add_column(column, overflow="fold")
    for name, (value, of) in rows.items():
        table.add_row(name, str(value), of, style="dim" if of == DEFAULT else "")
    Console(markup=False, highlight=False).print(table)
    for line in unknown_lines(found.unknown):
        typer.echo(line, err=True)


def unknown_lines(unknown: Mapping[str, str]) -> list[str]:
    """Say which variables nobody reads."""
    return [
        f"{variable} is no setting" + (f"; did you mean {near}" if near else "")
        for variable, near in unknown.items()
    ]
