"""The database: how it is opened, and that its schema is this version's.

Depends on: sqlalchemy, alembic. A non-empty database is never migrated unasked.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, inspect

from stillhouse_service.errors import SchemaMismatch

BUSY_TIMEOUT_S = 15.0
WRITES = "stillhouse_writes"  # execution option: the transaction will write


def open_engine(url: str) -> Engine:
    """Open a database.

    SQLite gets WAL, a busy timeout, foreign keys, and transactions that take the write lock when
    they begin: one that reads first and writes later would fail as soon as another wrote between.
    """
    if not url.startswith("sqlite"):
        return create_engine(url, pool_size=10, max_overflow=40, pool_pre_ping=True)
    engine = create_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT_S}, pool_size=10, max_overflow=40
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        is_writing = connection.get_execution_options().get(WRITES, True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    return engine


def _migrations() -> Config:
    """Find the migrations: inside an installed wheel, else beside the package's source root."""
    package = Path(__file__).resolve().parent
    folders = [package / "migrations", package.parent.parent / "migrations"]
    for folder in folders:
        if (folder / "env.py").is_file():
            config = Config()
            config.set_main_option("script_location", str(folder).replace("%", "%%"))
            config.set_main_option("path_separator", "os")
            return config
    raise SchemaMismatch(f"no migrations found in {folders[0]} or {folders[1]}: install again")


def head_revision() -> str:
    """Name the schema revision that this version of Stillhouse reads and writes."""
    revision = ScriptDirectory.from_config(_migrations()).get_current_head()
    assert revision is not None  # the package ships at least one migration
    return revision


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Migrate up to `revision`, whatever is there."""
    config = _migrations()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate down to `revision`; `base` empties the database."""
    config = _migrations()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def prepare(engine: Engine) -> str:
    """Make an empty database ours, or make sure that a full one is.

    Returns:
        The schema's revision.

    Raises:
        SchemaMismatch: The database holds something else than this version's schema.
    """
    head = head_revision()
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        found = MigrationContext.configure(connection).get_current_revision()
    where = engine.url.render_as_string(hide_password=True)
    if not tables:
        upgrade(engine)
    elif found is None:
        raise SchemaMismatch(
            f"{where} holds tables that are not Stillhouse's "
            f"({', '.join(sorted(tables)[:3])}, ...): name an empty database"
        )
    elif found != head:
        raise SchemaMismatch(
            f"{where} has schema revision {found}, this version of Stillhouse needs {head}; "
            "nothing was changed: use the version that wrote it, or name an empty database"
        )
    return head
