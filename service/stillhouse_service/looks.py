"""One look for all who want to know the same: a thousand clients wait for one answer.

Depends on: the standard library.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

_Seen = TypeVar("_Seen")


class Looks:
    """Lets coroutines that are woken at about the same time share what one of them sees.

    Args:
        breath_s: How long a look waits for others who want it, seconds; news comes in bursts.
        n_at_once: How many looks are under way at once: the rest of the server goes on meanwhile.
    """

    def __init__(self, breath_s: float, n_at_once: int) -> None:
        self._breath_s = breath_s
        self._turns = asyncio.Semaphore(n_at_once)
        self._to_come: dict[Hashable, asyncio.Future[Any]] = {}

    async def look(self, key: Hashable, act: Callable[[], Awaitable[_Seen]]) -> _Seen:
        """Give what `act` sees, begun after this call: by us, or by who asked for the same."""
        coming = self._to_come.get(key)
        if coming is None:
            coming = self._to_come[key] = asyncio.ensure_future(self._act(key, act))
        seen: _Seen = await asyncio.shield(coming)  # one who hangs up takes it from nobody
        return seen

    async def _act(self, key: Hashable, act: Callable[[], Awaitable[_Seen]]) -> _Seen:
        await asyncio.sleep(self._breath_s)
        async with self._turns:
            del self._to_come[key]  # who is woken from here on needs another
            return await act()
