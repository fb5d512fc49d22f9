"""One after the other, so many a second: what many would do at the same moment.

Depends on: the standard library.
"""

from __future__ import annotations

import asyncio
import time


class Turns:
    """Lets coroutines go on one at a time, evenly spaced; of one event loop.

    Args:
        every_s: How far apart they go on, seconds. One that comes alone does not wait.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next_s = 0.0

    async def take(self) -> None:
        """Wait for one's turn."""
        now_s = time.monotonic()
        turn_s = max(now_s, self._next_s)
        self._next_s = turn_s + self._every_s
        if turn_s > now_s:
            await asyncio.sleep(turn_s - now_s)
