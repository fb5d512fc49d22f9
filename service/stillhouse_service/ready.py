"""Looks at all that the server stands on, at once, soon enough for who asks.

Depends on: readiness. A part that hangs costs one thread, not one for everybody who asks, and is
told as failed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from stillhouse_service.readiness import Part, State

_log = logging.getLogger(__name__)
_FRESH_S = 2.0  # so long what was found is told again: it costs a write to the store
_PATIENCE_S = 5.0


class Readiness:
    """What was found lately, and the looks under way; used by one event loop."""

    def __init__(
        self,
        looks: Mapping[str, Callable[[], Part]],
        patience_s: float = _PATIENCE_S,
        fresh_s: float = _FRESH_S,
    ) -> None:
        """Watch these parts.

        Args:
            looks: By name, what finds out; may take long.
            patience_s: How long an answer waits for them.
            fresh_s: How long what was found holds.
        """
        self._looks, self._patience_s, self._fresh_s = looks, patience_s, fresh_s
        self._found: dict[str, tuple[float, Part]] = {}
        self._running: dict[str, Future[Part]] = {}
        self._states: dict[str, State] = {}

    async def look(self) -> list[Part]:
        """Find out how every part is."""
        return list(await asyncio.gather(*(self._look_at(name) for name in self._looks)))

    async def _look_at(self, name: str) -> Part:
        at_s, part = self._found.get(name, (float("-inf"), None))
        if part is not None and time.monotonic() - at_s < self._fresh_s:
            return part
        running = self._running.get(name)
        if running is None:
            running = self._running[name] = _started(name, self._looks[name])
        try:
            part = await asyncio.wait_for(
                asyncio.shield(asyncio.wrap_future(running)), self._patience_s
            )
        except TimeoutError:
            says = f"no answer for {self._patience_s:g} s"
            part = Part(name, "failed", says, "see whether it hangs: a mount, a network, a lock")
            self._tell(part)
            return part
        self._found[name] = time.monotonic(), part
        self._tell(part)
        if self._running.get(name) is running:
            del self._running[name]
        return part

    def _tell(self, part: Part) -> None:
        """Log a part whose state has changed, with what only the operator is to read."""
        before = self._states.get(part.name, "ok")
        self._states[part.name] = part.state
        if part.state != before:
            level = logging.INFO if part.state == "ok" else logging.WARNING
            _log.log(level, "%s is %s: %s %s", part.name, part.state, part.says, part.detail)


def _started(name: str, look: Callable[[], Part]) -> Future[Part]:
    """Look in a thread that does not keep the process alive."""
    future: Future[Part] = Future()

    def run() -> None:
        try:
            future.set_result(look())
        except Exception as error:  # told like everything else that is wrong
            _log.exception("%s cannot be looked at", name)
            says = f"it cannot be looked at: {type(error).__name__}"
            future.set_result(Part(name, "failed", says, "see the server's log"))

    threading.Thread(target=run, name=f"ready-{name}", daemon=True).start()
    return future
