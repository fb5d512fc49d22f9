"""Databases of schemas gone by: stored as SQL, upgraded, read back."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from stillhouse_service.database import (
    _migrations,
    bring_up,
    downgrade,
    head_revision,
    open_engine,
    prepare,
    schema_of,
    upgrade,
    wait_for,
)
from stillhouse_service.errors import DatabaseUnusable, SchemaMismatch
from stillhouse_service.store import Store
from stillhouse_service.tables import Base

STORED = sorted((Path(__file__).parent / "data").glob("schema_*.sql"))
on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)


def _revisions() -> list[str]:
    """Every revision, the first one first."""
    scripts = ScriptDirectory.from_config(_migrations())
    return [one.revision for one in scripts.walk_revisions()][::-1]


@pytest.fixture(params=STORED, ids=lambda path: path.stem)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A finished study of two trials, with what each schema added."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(request.param.read_text())
    return path, request.param.stem.removeprefix("schema_")


def test_every_schema_but_this_versions_is_stored() -> None:
    numbers = [path.stem.removeprefix("schema_") for path in STORED]
    assert numbers == _revisions()[:-1]


def test_a_stored_database_is_upgraded_and_nothing_of_it_is_lost(stored: tuple[Path, str]) -> None:
    path, revision = stored
    engine = open_engine(f"sqlite:///{path}")
    assert bring_up(engine).found == revision
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert found == []
    with Store(engine).read() as view:
        (study,) = view.studies.newest(10, None)
        assert study.state == "finished"
        assert [trial.number for trial in view.trials.told_of(study.id)] == [0, 1]
        assert len(view.log.measurements_of_study(study.id)) == 4  # check, two trials, final
        assert view.log.events_of(study.id)[-1].after == "finished"
    engine.dispose()


def test_a_server_neither_serves_nor_touches_an_older_database(stored: tuple[Path, str]) -> None:
    path, revision = stored
    before = path.read_bytes()
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(SchemaMismatch, match="stillhouse db upgrade"):
        prepare(engine)
    assert schema_of(engine).found == revision
    engine.dispose()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=DELETE")
    assert len(path.read_bytes()) == len(before)


def test_the_command_says_what_is_there_and_upgrades_it(stored: tuple[Path, str], run: Any) -> None:
    path, revision = stored
    where = ("--database", f"sqlite:///{path}")
    status, said, _ = run("db", "status", *where)
    assert status == 1
    assert f"schema {revision}" in said and "stillhouse db upgrade" in said
    status, said, _ = run("db", "upgrade", *where)
    assert (status, said) == (0, f"was schema {revision}, is schema {head_revision()}\n")
    assert run("db", "status", *where) == (0, f"schema {head_revision()}: this version's\n", "")
    assert run("db", "upgrade", *where)[0] == 0  # again: nothing to do


def test_a_database_of_a_newer_version_is_not_upgraded(tmp_path: Path, run: Any) -> None:
    path = tmp_path / "new.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
        database.commit()
    where = ("--database", f"sqlite:///{path}")
    status, said, _ = run("db", "status", *where)
    assert status == 1 and "9999, unknown here" in said
    status, _, said = run("db", "upgrade", *where)
    assert status == 1 and "does not know" in said


@on_both
def test_every_migration_can_be_undone_and_done_again(database: str) -> None:
    engine = open_engine(database)
    upgrade(engine)
    for revision in _revisions()[-2::-1]:
        downgrade(engine, revision)
        assert schema_of(engine).found == revision
        assert schema_of(engine).is_older
    upgrade(engine)
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert found == []
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("stillhouse.db", "not a database URL"),
        ("mysql://host/name", "mysql is not supported; wanted sqlite or postgresql"),
    ],
)
def test_a_url_that_cannot_be_opened_says_what_was_wanted(url: str, wanted: str) -> None:
    with pytest.raises(DatabaseUnusable, match=wanted):
        open_engine(url)


def test_a_database_that_never_answers_is_named_without_its_password(tmp_path: Path) -> None:
    engine = open_engine(f"postgresql://me:secret@/none?host={tmp_path}")
    with pytest.raises(DatabaseUnusable, match="no answer from postgresql") as refused:
        wait_for(engine, patience_s=0.0)
    assert "secret" not in str(refused.value)
