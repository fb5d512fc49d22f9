"""Tokens are looked up once for all who come at the same time."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from stillhouse_service import tokens
from stillhouse_service.guard import Guard
from stillhouse_service.store import UnitOfWork


class _Counted:
    """A store that counts who reads, and lets them in when told."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.n_reads = 0
        self.is_open = threading.Event()
        self.is_open.set()

    @contextmanager
    def glance(self) -> Iterator[UnitOfWork]:
        self.n_reads += 1
        with self._store.read() as view:
            assert self.is_open.wait(20)
            yield view


@pytest.fixture
def store(server: Any) -> _Counted:
    return _Counted(server.store)


def test_of_many_that_come_at_once_one_looks(server: Any, store: _Counted) -> None:
    with server.store.begin() as work:
        row, secret = tokens.create(work, "a reader", ["read"])

    async def come() -> None:
        guard = Guard(store)  # type: ignore[arg-type]  # stands for a Store
        for known in await asyncio.gather(*(guard.of(secret) for _ in range(50))):
            assert known.holder is not None and known.holder.id == row.id
        nobody = await asyncio.gather(*(guard.of(None) for _ in range(50)))
        assert {known.holder for known in nobody} == {None}

    asyncio.run(come())
    assert store.n_reads == 2


def test_who_comes_after_a_token_was_revoked_learns_of_it(server: Any, store: _Counted) -> None:
    with server.store.begin() as work:
        row, secret = tokens.create(work, "a reader", ["read"])

    async def come() -> None:
        guard = Guard(store)  # type: ignore[arg-type]  # stands for a Store
        store.is_open.clear()
        before = asyncio.create_task(guard.of(secret))
        while not store.n_reads:
            await asyncio.sleep(0.001)
        with server.store.begin() as work:
            tokens.revoke(work, row.id)
        guard.forget()
        after = asyncio.create_task(guard.of(secret))
        while store.n_reads < 2:  # it looks for itself
            await asyncio.sleep(0.001)
        store.is_open.set()
        await before
        assert (await after).holder is None
        assert (await guard.of(secret)).holder is None

    asyncio.run(come())


def test_one_that_hangs_up_takes_nobody_with_it(store: _Counted) -> None:
    async def come() -> None:
        guard = Guard(store)  # type: ignore[arg-type]  # stands for a Store
        store.is_open.clear()
        first, second = (asyncio.create_task(guard.of(None)) for _ in range(2))
        while not store.n_reads:
            await asyncio.sleep(0.001)
        first.cancel()
        await asyncio.sleep(0)
        store.is_open.set()
        assert not (await second).is_any_live

    asyncio.run(come())
    assert store.n_reads == 1
