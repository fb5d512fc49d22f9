"""The database on SQLite and Postgres: its schema, one writer at a time, readers of one moment."""

import math
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from stillhouse_service.database import (
    downgrade,
    head_revision,
    open_engine,
    prepare,
    upgrade,
)
from stillhouse_service.errors import IllegalTransition, SchemaMismatch
from stillhouse_service.store import Store
from stillhouse_service.tables import Base, DeviceRow, WorkerRow

pytestmark = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)


def test_an_empty_database_becomes_ours(database: str) -> None:
    engine = open_engine(database)
    assert prepare(engine) == head_revision()
    assert set(Base.metadata.tables) <= set(inspect(engine).get_table_names())
    assert prepare(engine) == head_revision()
    engine.dispose()


def test_the_migrations_make_exactly_the_tables_of_the_code(database: str) -> None:
    engine = open_engine(database)
    upgrade(engine)
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert found == []
    engine.dispose()


def test_the_migrations_can_be_undone(database: str) -> None:
    engine = open_engine(database)
    upgrade(engine)
    downgrade(engine, "base")
    assert set(inspect(engine).get_table_names()) == {"alembic_version"}
    upgrade(engine)
    assert set(Base.metadata.tables) <= set(inspect(engine).get_table_names())
    engine.dispose()


def test_a_database_of_something_else_is_refused_and_left_alone(database: str) -> None:
    engine = open_engine(database)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE recipes (name TEXT)"))
    with pytest.raises(SchemaMismatch, match=r"not Stillhouse's \(recipes"):
        prepare(engine)
    assert inspect(engine).get_table_names() == ["recipes"]
    engine.dispose()


def test_a_database_of_another_version_is_refused_and_left_alone(database: str) -> None:
    engine = open_engine(database)
    prepare(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="has schema revision 9999"):
        prepare(engine)
    engine.dispose()


def test_writers_at_the_same_time_wait_for_one_another(database: str) -> None:
    # A transaction that reads first and writes later fails in SQLite when another wrote between.
    engine = open_engine(database)
    prepare(engine)
    store = Store(engine)
    failures: list[BaseException] = []

    def register(name: str) -> None:
        try:
            for i in range(10):
                with store.begin() as work:
                    assert work.devices.host_called(f"{name} {i}") is None
                    work.devices.add(
                        WorkerRow(
                            id=f"wrk_{name}{i}",
                            name=f"{name} {i}",
                            version="1",
                            created_at=work.now,
                            last_seen_at=work.now,
                        )
                    )
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=register, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM worker")).scalar() == 60
    engine.dispose()


def test_a_reader_sees_one_moment_while_others_write(database: str) -> None:
    engine = open_engine(database)
    prepare(engine)
    store = Store(engine)
    with store.read() as view:
        assert view.devices.kinds() == set()
        with store.begin() as work:
            work.devices.add(
                WorkerRow(
                    id="wrk_1", name="a", version="1", created_at=work.now, last_seen_at=work.now
                )
            )
        assert view.devices.host_called("a") is None
    with store.read() as view:
        found = view.devices.host("wrk_1")
    assert found.created_at.utcoffset() is not None
    engine.dispose()


def test_what_is_appended_to_the_log_cannot_be_changed(database: str) -> None:
    engine = open_engine(database)
    prepare(engine)
    store = Store(engine)
    with store.begin() as work:
        work.log.add_event(
            at=work.now,
            study_id=None,
            subject="std_1",
            kind="state",
            who="me",
            before=None,
            after="checking",
            reason=None,
        )
    with pytest.raises(IllegalTransition, match="append-only"), store.begin() as work:
        work.log.events_of("std_1")[0].reason = "rewritten"
    with store.read() as view:
        assert view.log.events_of("std_1")[0].reason is None
    engine.dispose()


def test_a_number_that_is_none_is_stored_as_null(database: str) -> None:
    # A training that diverges tells a loss of NaN, which Postgres refuses in JSON.
    engine = open_engine(database)
    prepare(engine)
    store = Store(engine)
    with store.begin() as work:
        now = work.now
        work.devices.add(
            WorkerRow(id="wrk_1", name="a", version="1", created_at=now, last_seen_at=now)
        )
        info = {"loss": math.nan, "list": [math.inf, 1.5], "text": "NaN"}
        work.devices.add(
            DeviceRow(
                id="dev_1", worker_id="wrk_1", name="d", kind="CPU", info=info, last_seen_at=now
            )
        )
    with store.read() as view:
        found = view.devices.device("dev_1").info
    assert found == {"loss": None, "list": [None, 1.5], "text": "NaN"}
    engine.dispose()
