"""Wakes coroutines that wait for work, from any thread.

Depends on: the standard library.
"""

from __future__ import annotations

import asyncio
import threading


class Bell:
    """Rung by any thread, heard by every coroutine that waits at that moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def ring(self) -> None:
        """Wake everybody who waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def subscribe(self) -> asyncio.Event:
        """Get an event that the next ring sets; take it before looking, so that none is missed."""
        event = asyncio.Event()
        with self._lock:
            self._waiting.add((asyncio.get_running_loop(), event))
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        """Let go of an event that nobody will wait for."""
        with self._lock:
            self._waiting.discard((asyncio.get_running_loop(), event))

    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool:
        """Wait for the event, at most `timeout_s` seconds; holds no thread. Was it rung?"""
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            return False
        else:
            return True
        finally:
            self.unsubscribe(event)
