"""Who drives: one of several servers of a Postgres, whatever the others believe."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stillhouse_service import leadership as module
from stillhouse_service.artifact_places import Folder
from stillhouse_service.database import open_engine, prepare
from stillhouse_service.errors import Conflict, Deposed
from stillhouse_service.ids import utc_now
from stillhouse_service.installation import claim
from stillhouse_service.leadership import Leadership
from stillhouse_service.store import Store

on_postgres = pytest.mark.parametrize("database", ["postgres"], indirect=True)
Server = tuple[Leadership, Store]
Start = Callable[..., Server]


@pytest.fixture
def start(database: str) -> Iterator[Start]:
    """Start what of a server takes part in who drives; each has connections of its own."""
    with ExitStack() as stack:
        engine = open_engine(database)
        stack.callback(engine.dispose)
        prepare(engine)

        def make(lease_s: float = 60.0) -> Server:
            own = open_engine(database)
            stack.callback(own.dispose)
            store = Store(own)
            leads = Leadership(own, store, lease_s)
            stack.callback(leads.stop)
            return leads, store.fenced(leads.fence)

        yield make


def _write(store: Store, word: str) -> None:
    with store.begin() as work:
        work.log.add_event(
            at=work.now,
            study_id=None,
            subject="x",
            kind="state",
            who=word,
            before=None,
            after=None,
            reason=None,
        )


def _words(store: Store) -> list[str]:
    with store.read() as view:
        return [event.who for event in view.log.events_of("x")]


def _until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def _vanish(leads: Leadership) -> None:
    """End a server as kill -9 does: its connections close, it says nothing."""
    leads._drop()


@on_postgres
def test_one_of_two_leads_and_the_other_writes_nothing(start: Start) -> None:
    (first, first_store), (second, second_store) = start(), start()
    assert first.take()
    assert not second.take()
    _write(first_store, "first")
    with pytest.raises(Deposed):
        _write(second_store, "second")
    assert _words(first_store) == ["first"]


@on_postgres
def test_who_is_gone_is_replaced_long_before_its_lease_is_over(start: Start) -> None:
    (first, _), (second, second_store) = start(), start()
    assert first.take()
    assert not second.take()
    _vanish(first)
    _until(second.take)
    _write(second_store, "second")


@on_postgres
def test_a_server_that_starts_waits_for_nobody_who_is_gone(start: Start) -> None:
    first, _ = start()
    assert first.take()
    _vanish(first)
    second, _ = start()
    assert second.take()


@on_postgres
def test_who_gives_the_lead_up_is_followed_at_once(start: Start) -> None:
    (first, _), (second, _) = start(), start()
    assert first.take()
    assert not second.take()
    first.stop()
    assert second.take()


@on_postgres
def test_of_two_that_believe_they_lead_the_one_that_was_frozen_writes_nothing(
    start: Start,
) -> None:
    frozen, frozen_store = start(lease_s=1.0)  # not started: it shows no life, and holds its lock
    other, other_store = start()
    assert frozen.take()
    assert not other.take()
    _until(other.take)
    assert frozen.leads  # so it believes
    assert other.leads
    with pytest.raises(Deposed):
        _write(frozen_store, "frozen")
    assert not frozen.leads
    _write(other_store, "other")
    assert not frozen.take()
    assert _words(other_store) == ["other"]


@on_postgres
def test_a_leader_that_shows_life_keeps_the_lead(start: Start) -> None:
    (leads, store), (other, _) = start(), start()
    assert leads.take()

    def until() -> datetime:
        with store.begin() as work:
            found = work.drivers.row().until
        assert found is not None
        return found

    with store.begin() as work:  # as if nothing had been heard of it for a minute
        work.drivers.row().until = work.now - timedelta(seconds=1)
    leads._renew()
    assert not other.take()
    renewed = until()
    leads.start()  # it does so by itself
    _until(lambda: until() > renewed)
    _write(store, "leads")


@on_postgres
def test_a_leader_whose_connection_was_lost_keeps_the_lead(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GONE_S", 30.0)  # however busy the machine is
    leads, store = start(lease_s=60.0)
    other, _ = start()
    assert leads.take()
    assert not other.take()
    _vanish(leads)  # Postgres has restarted
    assert not other.take()  # it waits a moment

    def has_its_lock() -> bool:
        leads._renew()
        return leads._has_lock  # Postgres may take a moment to see that the old one is gone

    _until(has_its_lock)
    assert leads._is_held(1)
    assert not other.take()
    _write(store, "leads")


@on_postgres
def test_of_many_that_start_at_once_one_leads(start: Start) -> None:
    servers = [start() for _ in range(6)]
    barrier = threading.Barrier(len(servers))
    took: list[int] = []

    def take(number: int) -> None:
        barrier.wait()
        if servers[number][0].take():
            took.append(number)

    threads = [threading.Thread(target=take, args=(i,)) for i in range(len(servers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    leaders = [leads for leads, _ in servers if leads.leads]
    assert len(leaders) == 1
    assert len(took) == 1


def test_on_sqlite_who_comes_leads_and_who_was_there_writes_nothing(start: Start) -> None:
    (first, first_store), (second, second_store) = start(), start()
    assert first.take()
    assert second.take()
    with pytest.raises(Deposed):
        _write(first_store, "first")
    _write(second_store, "second")
    assert _words(second_store) == ["second"]


@on_postgres
def test_servers_whose_own_clocks_differ_stamp_rows_alike(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store = start()
    monkeypatch.setattr(
        "stillhouse_service.database_clock.utc_now", lambda: utc_now() - timedelta(hours=1)
    )
    leads, own = start()
    assert leads.take()
    with own.begin() as work:
        stamped = work.now
    with own.read() as view:
        read = view.now
    assert abs(stamped - utc_now()) < timedelta(minutes=5)
    assert timedelta(0) <= read - stamped < timedelta(minutes=5)
    assert store is not own


@on_postgres
def test_a_database_has_one_artifact_store(start: Start, tmp_path: Path) -> None:
    _, store = start()
    plain = Store(store._writing.kw["bind"])
    claim(plain, Folder(tmp_path / "ours"))
    claim(plain, Folder(tmp_path / "ours"))
    with pytest.raises(Conflict, match="not the one that this database's files are in"):
        claim(plain, Folder(tmp_path / "empty"))
    (tmp_path / "theirs" / "installation").mkdir(parents=True)
    (tmp_path / "theirs" / "installation" / "id").write_text("another\n")
    with pytest.raises(Conflict, match="is another database's"):
        claim(plain, Folder(tmp_path / "theirs"))
