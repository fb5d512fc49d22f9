"""Wakes coroutines that wait for news, from any thread.

Depends on: the standard library.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Collection

_Waiting = set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]


class Bell:
    """Rung by any thread, heard by every coroutine that waits for it at that moment.

    A coroutine waits for news of one thing, or of whatever comes; holds no thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: defaultdict[str | None, _Waiting] = defaultdict(set)

    def ring(self, about: Collection[str] | None = None) -> None:
        """Wake those who wait for news of these things, and those who wait for any.

        Args:
            about: Ids of what there is news of; none: of anything, so that everybody is woken.
        """
        with self._lock:
            names = list(self._waiting) if about is None else [None, *about]
            woken: _Waiting = set()
            for name in names:
                woken |= self._waiting.pop(name, set())
        for loop in {loop for loop, _ in woken}:
            events = [event for own, event in woken if own is loop]
            if not loop.is_closed():
                loop.call_soon_threadsafe(_set_all, events)

    def subscribe(self, about: str | None = None) -> asyncio.Event:
        """Get an event that the next ring sets; take it before looking, so that none is missed.

        Args:
            about: Of what news is wanted; none: of anything.
        """
        event = asyncio.Event()
        with self._lock:
            self._waiting[about].add((asyncio.get_running_loop(), event))
        return event

    def unsubscribe(self, event: asyncio.Event, about: str | None = None) -> None:
        """Let go of an event that nobody will wait for."""
        with self._lock:
            waiting = self._waiting.get(about)
            if waiting is not None:
                waiting.discard((asyncio.get_running_loop(), event))
                if not waiting:
                    del self._waiting[about]

    async def wait(self, event: asyncio.Event, timeout_s: float, about: str | None = None) -> bool:
        """Wait for the event, at most `timeout_s` seconds; holds no thread. Was it rung?"""
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            return False
        else:
            return True
        finally:
            self.unsubscribe(event, about)


def _set_all(events: Collection[asyncio.Event]) -> None:
    for event in events:
        event.set()
