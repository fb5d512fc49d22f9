"""`stillhouse token`: create, list, revoke; on the database, for who runs the server.

Depends on: typer, rich; the database, with or without a server on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getuser
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stillhouse_service import tokens, views
from stillhouse_service.cli.options import CONFIGURED, AsJson, Database, print_json
from stillhouse_service.database import open_engine, prepare
from stillhouse_service.store import Store

app = typer.Typer(no_args_is_help=True, help="Who may use the server; works on its database.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who will use it; the log names it.")],
    scope: Annotated[
        list[str],
        typer.Option(help="read, write (and read), worker (device hosts), or admin (everything)."),
    ],
    days: Annotated[
        float | None, typer.Option(help="Good for so long; else until revoked.")
    ] = None,
    database: Database = CONFIGURED,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, once; give it to programs as STILLHOUSE_TOKEN."""
    with _opened(database) as store, store.begin(_operator()) as work:
        row, token = tokens.create(work, name, scope, days)
        shown = views.token(row).model_dump(mode="json")
    if as_json:
        print_json(shown | {"token": token})
    else:
        typer.echo(f"{row.id} {row.name}: {', '.join(row.scopes)}", err=True)
        typer.echo(token)


@app.command("list")
def list_tokens(database: Database = CONFIGURED, as_json: AsJson = False) -> None:
    """List every token ever made, newest first; never the tokens themselves."""
    with _opened(database) as store, store.read() as view:
        shown = [views.token(row) for row in view.tokens.all()]
        now = view.now
    if as_json:
        print_json([one.model_dump(mode="json") for one in shown])
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("token", "name", "scopes", "made", "state"):
        table.add_column(column)
    for one in shown:
        state = "live" if one.expires_at is None else f"until {one.expires_at:%Y-%m-%d}"
        if one.expires_at is not None and one.expires_at <= now:
            state = "has run out"
        state = state if one.revoked_at is None else "revoked"
        made = f"{one.created_at:%Y-%m-%d}"
        table.add_row(one.id, one.name, ", ".join(one.scopes), made, state)
    Console(markup=False).print(table)


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="The token's id, tok_...")],
    database: Database = CONFIGURED,
) -> None:
    """End a token; a running server refuses it within a second."""
    with _opened(database) as store, store.begin(_operator()) as work:
        row = tokens.revoke(work, token_id)
    typer.echo(f"{row.id} {row.name} is revoked")


@contextmanager
def _opened(database: str) -> Iterator[Store]:
    engine = open_engine(database)
    try:
        prepare(engine)
        yield Store(engine)
    finally:
        engine.dispose()


def _operator() -> str:
    """Name who does it, for the log."""
    try:
        return f"operator {getuser()}"
    except (KeyError, OSError):  # a user without a name
        return "operator"
