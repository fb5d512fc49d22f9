"""`stillhouse db`: what schema a database has, and bringing it up to this version's.

Depends on: typer; the database, without a server.
"""

from __future__ import annotations

import typer

from stillhouse_service.cli.options import CONFIGURED, Database
from stillhouse_service.database import bring_up, open_engine, schema_of

app = typer.Typer(no_args_is_help=True, help="The server's database; end the server first.")


@app.command()
def status(database: Database = CONFIGURED) -> None:
    """Say which schema a database has; exit status 1 when this version cannot serve it."""
    engine = open_engine(database)
    schema = schema_of(engine)
    engine.dispose()
    if schema.is_current:
        typer.echo(f"schema {schema.found}: this version's")
    elif schema.is_empty:
        typer.echo(f"empty: `stillhouse serve` makes it schema {schema.wanted}")
    elif schema.is_older:
        typer.echo(
            f"schema {schema.found}; this version needs {schema.wanted}: make a copy, then "
            "`stillhouse db upgrade`"
        )
        raise typer.Exit(1)
    else:
        what = f"schema {schema.found}, unknown here" if schema.found else "not Stillhouse's"
        typer.echo(f"{what}; this version needs {schema.wanted}")
        raise typer.Exit(1)


@app.command()
def upgrade(database: Database = CONFIGURED) -> None:
    """Migrate a database of an older version; rows stay. Make a copy first."""
    engine = open_engine(database)
    before = bring_up(engine)
    engine.dispose()
    what = "empty" if before.is_empty else f"schema {before.found}"
    typer.echo(f"was {what}, is schema {before.wanted}")
