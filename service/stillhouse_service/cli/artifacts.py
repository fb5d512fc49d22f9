"""`stillhouse artifacts`: removing files that nothing needs, and checking those that are needed.

Depends on: typer; the database and the artifact store, beside a server or without one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from stillhouse_service import artifact_garbage
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.cli.options import CONFIGURED, Artifacts, Database
from stillhouse_service.database import open_engine, schema_of
from stillhouse_service.errors import Conflict
from stillhouse_service.store import Store

app = typer.Typer(no_args_is_help=True, help="The server's files: networks, data, logs.")


@app.command()
def gc(
    database: Database = CONFIGURED,
    artifacts: Artifacts = CONFIGURED,
    grace_hours: Annotated[
        float, typer.Option(min=0.0, help="Leave alone what is younger than so many hours.")
    ] = artifact_garbage.GRACE_S / 3600,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be removed.")
    ] = False,
) -> None:
    """Remove files that no trial, study or baseline needs; the server may go on."""
    with _opened(database) as store:
        found = artifact_garbage.collect(
            store, ArtifactStore(artifacts), grace_hours * 3600, is_dry=dry_run
        )
    if dry_run:
        for file in found.removed:
            typer.echo(f"{file.name}  {file.n_bytes} bytes")
    did = "would remove" if dry_run else "removed"
    typer.echo(
        f"{did} {len(found.removed)} files of {found.n_bytes / 1e6:.1f} MB, kept {found.n_kept}"
    )


@app.command()
def check(database: Database = CONFIGURED, artifacts: Artifacts = CONFIGURED) -> None:
    """Read every artifact and compare its hash; exit status 1 when one is damaged or gone."""
    with _opened(database) as store:
        n_bad = 0
        for problem in artifact_garbage.damaged(store, ArtifactStore(artifacts)):
            typer.echo(problem)
            n_bad += 1
    if n_bad:
        raise typer.Exit(1)
    typer.echo("every artifact is whole")


@contextmanager
def _opened(database: str) -> Iterator[Store]:
    engine = open_engine(database)
    try:
        if not schema_of(engine).is_current:
            raise Conflict(
                "the database is not of this version's schema: see `stillhouse db status`"
            )
        yield Store(engine)
    finally:
        engine.dispose()
