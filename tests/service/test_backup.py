"""A copy that was made while the server ran, restored elsewhere: as docs/operations.md has it."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Postgres

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)


def _copied(url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Copy a database that is in use; give the copy's URL."""
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as ours, closing(sqlite3.connect(tmp_path / "c")) as to:
            ours.backup(to)  # as the shell's .backup
        return f"sqlite:///{tmp_path}/c"
    postgres: Postgres = request.getfixturevalue("postgres")
    name = url.split("@/")[1].split("?")[0]
    postgres.program("pg_dump", "-Fc", "-f", str(tmp_path / "copy.dump"), name)
    postgres.run(f"CREATE DATABASE {name}_copy")
    request.addfinalizer(lambda: postgres.run(f"DROP DATABASE {name}_copy WITH (FORCE)"))
    postgres.program("pg_restore", "-d", f"{name}_copy", str(tmp_path / "copy.dump"))
    return postgres.url(f"{name}_copy")


@on_both
def test_a_restored_copy_goes_on_where_it_was_made(
    serve: Any, connect: Any, run: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    first = serve()
    host = connect(first)
    study = first.study(budget={"trials": 2})
    host.measure(host.lease())
    lease = None
    while lease is None:
        first.compute_all()
        answer = host.ask(wait_s=0.2)
        lease = answer.json() if answer.status_code == 200 else None
    copy = _copied(first.settings.database_url, tmp_path, request)  # with a job under way
    folder = tmp_path / "restored"
    shutil.copytree(first.settings.artifact_dir, folder)
    host.measure(lease, ratio=0.9)
    host.play(first, study, [0.8, 0.9])
    first.stop()

    where = ("--database", copy, "--artifacts", str(folder))
    assert run("artifacts", "check", *where)[:2] == (0, "every artifact is whole\n")
    second = serve(database_url=copy, artifact_dir=folder)
    assert second.get(f"/v1/studies/{study}")["counts"]["complete"] == 0
    other = connect(second)
    other.play(second, study, [0.7, 0.6])
    ended = second.get(f"/v1/studies/{study}")
    assert (ended["state"], ended["counts"]["complete"]) == ("finished", 2)
