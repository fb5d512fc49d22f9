"""Device hosts that wait for a job: as many are woken as there are jobs for them.

Depends on: the store. Whoever waits holds no thread and no transaction; one query a second, however
many they are, finds the jobs that become free by time alone: after a pause between attempts.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.concurrency import run_in_threadpool

from stillhouse_service.store import Store

_log = logging.getLogger(__name__)
_LOOK_AGAIN_S = 1.0
_BREATH_S = 0.02  # between two looks: jobs come in bursts
_FEW = 4  # are woken for any new job: that costs less than to find out whose it is


@dataclass(eq=False)
class _Host:
    """One that waits."""

    serves: Sequence[str]  # what a job's device may be called for it to take it
    event: asyncio.Event = field(default_factory=asyncio.Event)


class WaitingHosts:
    """The hosts that wait, longest first; of one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hosts: dict[_Host, None] = {}  # in the order of their coming
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._is_job_new = False
        self._n_rung = 0
        self._n_rung_lock = threading.Lock()
        self._watch: asyncio.Task[None] | None = None
        self._is_closed = False

    def ring(self) -> None:
        """Look for whom there is work; from any thread."""
        with self._n_rung_lock:
            self._n_rung += 1
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        self._is_job_new = True
        self._news.set()

    def close(self) -> None:
        """Send everybody away: the server ends; from any thread."""
        self._is_closed = True
        self.ring()

    def heard(self) -> int:
        """Give how often it was rung: whoever looks for a job notes that first."""
        return self._n_rung

    async def wait(self, serves: Sequence[str], timeout_s: float, heard: int) -> bool:
        """Wait for a job; tell whether there may be one. Somebody else may still be faster.

        Args:
            serves: See `leases.serves`.
            timeout_s: The longest wait, seconds.
            heard: From `heard`, before the caller looked for a job and found none.
        """
        self._loop = asyncio.get_running_loop()
        host = _Host(serves)
        self._hosts[host] = None
        if heard != self._n_rung:
            self._news.set()  # a job may have come between its last look and now
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look_on())
        try:
            await asyncio.wait_for(host.event.wait(), timeout_s)
        except TimeoutError:
            return False
        else:
            return True
        finally:
            self._hosts.pop(host, None)

    async def _look_on(self) -> None:
        """Look whenever something may have come, while anybody waits."""
        while self._hosts:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _LOOK_AGAIN_S)
            self._news.clear()
            if self._is_closed:
                self._wake(list(self._hosts))
                return
            is_job_new, self._is_job_new = self._is_job_new, False
            if is_job_new and len(self._hosts) <= _FEW:
                self._wake(list(self._hosts))
                continue
            try:
                n_waiting = await run_in_threadpool(self._count)
            except (OperationalError, InterfaceError) as error:
                _log.error("waiting device hosts: no database: %s", error.orig)
                await asyncio.sleep(_LOOK_AGAIN_S)
                continue
            self._wake(_first_for(n_waiting, list(self._hosts)))
            await asyncio.sleep(_BREATH_S)

    def _count(self) -> dict[str, int]:
        with self._store.glance() as view:
            return view.stages.n_waiting_for_devices(view.now)

    def _wake(self, hosts: Sequence[_Host]) -> None:
        for host in hosts:
            self._hosts.pop(host, None)
            host.event.set()


def _first_for(n_waiting: dict[str, int], hosts: Sequence[_Host]) -> list[_Host]:
    """Choose who takes the jobs that wait: who has waited longest for one of them."""
    chosen = []
    for host in hosts:
        name = next((name for name in host.serves if n_waiting.get(name, 0) > 0), None)
        if name is not None:
            n_waiting[name] -= 1
            chosen.append(host)
    return chosen
