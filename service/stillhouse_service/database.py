"""The database: how it is opened, and that its schema is this version's.

Depends on: sqlalchemy, alembic. A non-empty database is never migrated unasked.
"""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DisconnectionError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from stillhouse_service.errors import DatabaseUnusable, SchemaMismatch

_log = logging.getLogger(__name__)
BUSY_TIMEOUT_S = 15.0
PATIENCE_S = 60.0  # of a server that starts, with a database that does not answer yet
_PAUSE_S = 0.5
_FINAL = (
    "password authentication failed",
    "does not exist",  # database or role
    "no pg_hba.conf entry",
    "unable to open database file",
)
_FRESH_S = 1.0  # a connection used so lately is taken to be alive
WRITES = "stillhouse_writes"  # execution option: the transaction will write
_WRITER_LOCK = 0x5711_1805E  # Postgres: the advisory lock of whoever writes
BEGAN_AT = "began_at"  # in the connection's info: when its transaction got the write lock
# A writer that is frozen or cut off in the middle of a transaction would hold up all the others:
# Postgres ends it.
_IDLE_S = 15
_BEGIN_WRITING = (
    f"SELECT pg_advisory_xact_lock({_WRITER_LOCK}), "
    f"set_config('idle_in_transaction_session_timeout', '{_IDLE_S}s', true), clock_timestamp()"
)
# A peer that is gone without a word is found out about so soon.
_KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


def open_engine(url: str) -> Engine:
    """Open a database: one writer at a time, readers that never wait, on either kind.

    A transaction that writes takes the write lock when it begins: one that reads first and writes
    later would fail (SQLite) or overwrite (Postgres) as soon as another wrote between. Who waits
    for the lock in vain gets an `OperationalError` after `BUSY_TIMEOUT_S`.

    Args:
        url: `sqlite:///file.db`, or `postgresql://user:password@host/name`.

    Raises:
        DatabaseUnusable: The URL is none, of another kind of database, or its driver is missing.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise DatabaseUnusable(
            f"not a database URL: {url!r}; wanted sqlite:///file.db or postgresql://host/name"
        ) from None
    match parsed.get_backend_name():
        case "sqlite":
            return _open_sqlite(parsed)
        case "postgresql" | "postgres":
            return _open_postgres(parsed.set(drivername="postgresql+psycopg"))
        case other:
            raise DatabaseUnusable(f"{other} is not supported; wanted sqlite or postgresql")


def _to_json(value: object) -> str:
    """Write JSON as both databases store it: a number that is none (NaN, infinite) becomes null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: object) -> object:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _finite(one) for key, one in value.items()}
        case list() | tuple():
            return [_finite(one) for one in value]
    return value


def _open_sqlite(url: URL) -> Engine:
    """SQLite gets WAL, a busy timeout and foreign keys."""
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_S},
        pool_size=10,
        max_overflow=40,
        json_serializer=_to_json,
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


def _open_postgres(url: URL) -> Engine:
    """Postgres gets one writer at a time, as SQLite has, and readers that see one moment."""
    try:
        engine = create_engine(
            url,
            pool_size=10,
            max_overflow=40,
            pool_use_lifo=True,  # the connection used last knows the statements
            json_serializer=_to_json,
            connect_args={
                "application_name": "stillhouse",
                "prepare_threshold": 1,  # few statements, asked all day: planned once
                "connect_timeout": int(BUSY_TIMEOUT_S),
                "options": f"-c lock_timeout={BUSY_TIMEOUT_S:g}s -c timezone=UTC",
                **_KEEPALIVE,
            },
        )
    except ModuleNotFoundError as error:
        raise DatabaseUnusable(
            f"Postgres needs a driver ({error}): pip install 'stillhouse[postgres]'"
        ) from error

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        if connection.get_execution_options().get(WRITES, True):
            began = connection.exec_driver_sql(_BEGIN_WRITING).one()
            connection.info[BEGAN_AT] = began[2]

    @event.listens_for(engine, "checkin")
    def on_checkin(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["used_at_s"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def on_checkout(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        """Replace a connection that was lost while it rested; one just used needs no asking."""
        if time.monotonic() - record.info.get("used_at_s", math.inf) < _FRESH_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            if not engine.dialect.is_disconnect(error, connection, None):
                raise
            raise DisconnectionError from error

    return engine


def reads(engine: Engine) -> dict[str, Any]:
    """Give the execution options of a transaction that only reads: it sees one moment."""
    options: dict[str, Any] = {WRITES: False}
    if engine.dialect.name == "postgresql":
        # Told with the BEGIN itself.
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return options


def glances(engine: Engine) -> dict[str, Any]:
    """Give the execution options of statements that only read and need not see one moment."""
    options: dict[str, Any] = {WRITES: False}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "AUTOCOMMIT"}  # neither BEGIN nor ROLLBACK is waited for
    return options


def wait_for(engine: Engine, patience_s: float = PATIENCE_S) -> None:
    """Wait until the database answers: Postgres may start, or recover, at the same time as we do.

    Raises:
        DatabaseUnusable: It has not answered for `patience_s` seconds.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            with engine.connect():
                return
        except DatabaseError as error:
            if time.monotonic() > deadline or not _is_passing(error):
                raise DatabaseUnusable(f"no answer from {_place(engine)}: {error.orig}") from error
            _log.warning("waiting for %s: %s", _place(engine), error.orig)
            time.sleep(_PAUSE_S)


def own_connection(engine: Engine) -> Any:
    """Open a connection to Postgres of the caller's own, the driver's own kind, in autocommit.

    Raises:
        OperationalError: The database does not answer.
    """
    pooled = engine.raw_connection()
    connection: Any = pooled.driver_connection
    pooled.detach()  # its life is the caller's
    connection.rollback()
    connection.autocommit = True
    return connection


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
    with _migrating(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate down to `revision`; `base` empties the database."""
    config = _migrations()
    with _migrating(engine) as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    """One transaction in which SQLite lets a table be rebuilt that others point to.

    SQLite changes a column by writing its table anew; dropping the old one would break every
    foreign key to it, so they are looked at once, when all is done.
    """
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        pooled: Any = connection.connection
        if is_sqlite:
            pooled.execute("PRAGMA foreign_keys=OFF").close()
        try:
            with connection.begin():
                yield connection
                if is_sqlite:
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchone()
                    if broken is not None:
                        raise SchemaMismatch(f"a row of {broken[0]} names one of {broken[2]}, lost")
        finally:
            if is_sqlite:
                pooled.execute("PRAGMA foreign_keys=ON").close()


@dataclass(frozen=True)
class Schema:
    """What a database holds, beside what this version of Stillhouse wants.

    Attributes:
        found: Its schema's revision; none where it has none.
        wanted: This version's.
        is_empty: Whether it holds no table at all.
        is_older: Whether this version's migrations lead from `found` to `wanted`.
        foreign: A few tables of whoever else uses it.
    """

    found: str | None
    wanted: str
    is_empty: bool
    is_older: bool
    foreign: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        """Whether it can be served as it is."""
        return self.found == self.wanted


def schema_of(engine: Engine) -> Schema:
    """Look what a database holds; changes nothing."""
    wanted = head_revision()
    with engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        found = MigrationContext.configure(connection).get_current_revision()
    known = [one.revision for one in ScriptDirectory.from_config(_migrations()).walk_revisions()]
    return Schema(
        found=found,
        wanted=wanted,
        is_empty=not tables,
        is_older=found in known and found != wanted,
        foreign=tuple(sorted(tables)[:3]) if found is None else (),
    )


def prepare(engine: Engine) -> str:
    """Make an empty database ours, or make sure that a full one is.

    Returns:
        The schema's revision.

    Raises:
        SchemaMismatch: The database holds something else than this version's schema.
    """
    schema = schema_of(engine)
    if schema.is_empty:
        upgrade(engine)
    elif schema.is_older:
        raise SchemaMismatch(
            f"{_place(engine)} has schema revision {schema.found}, this version of Stillhouse "
            f"needs {schema.wanted}; nothing was changed: make a copy, then migrate it with "
            "`stillhouse db upgrade`"
        )
    elif not schema.is_current:
        raise _foreign(engine, schema)
    return schema.wanted


def bring_up(engine: Engine) -> Schema:
    """Migrate a database of ours to this version's schema, as its operator asked.

    Returns:
        What it held before.

    Raises:
        SchemaMismatch: It is not ours, or of a newer version.
    """
    schema = schema_of(engine)
    if not (schema.is_empty or schema.is_older or schema.is_current):
        raise _foreign(engine, schema)
    upgrade(engine)
    return schema


def _is_passing(error: DatabaseError) -> bool:
    """Tell whether waiting may help; a wrong password, name or file stays wrong."""
    said = str(error.orig)
    return isinstance(error, OperationalError) and not any(one in said for one in _FINAL)


def _place(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _foreign(engine: Engine, schema: Schema) -> SchemaMismatch:
    if schema.found is None:
        return SchemaMismatch(
            f"{_place(engine)} holds tables that are not Stillhouse's "
            f"({', '.join(schema.foreign)}, ...): name an empty database"
        )
    return SchemaMismatch(
        f"{_place(engine)} has schema revision {schema.found}, which this version of Stillhouse "
        f"(schema {schema.wanted}) does not know; nothing was changed: use the version that wrote "
        "it, or name an empty database"
    )
