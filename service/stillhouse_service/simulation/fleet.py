"""A fleet: made-up hosts and workers, in this process, beside whatever waits for them.

Depends on: httpx, hosts, workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from stillhouse_service.simulation.hosts import SimulatedHost, Tally, client_of
from stillhouse_service.simulation.law import Law


@dataclass(frozen=True)
class Fleet:
    """How many hosts there are, and of what kind.

    Attributes:
        n_hosts: Device hosts with a device each.
        kind: Of their devices.
        job_s: How long a host measures, seconds.
        name: How the names of the hosts begin.
    """

    n_hosts: int = 2
    kind: str = "CPU"
    job_s: float = 0.0
    name: str = "simulated"


@asynccontextmanager
async def simulated_hosts(
    fleet: Fleet, law: Law, urls: Sequence[str], token: str | None = None
) -> AsyncIterator[Tally]:
    """Have hosts work; give what they see, as it grows.

    Args:
        fleet: Which hosts.
        law: The world.
        urls: The servers of one installation; the hosts are spread over them.
        token: Of scope `worker`, where the servers want one.
    """
    tally = Tally()
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(client_of(url, token, fleet.n_hosts)) for url in urls
        ]
        living = []
        for i in range(fleet.n_hosts):
            k = i % len(clients)
            own = [*clients[k:], *clients[:k]]
            name = f"{fleet.name}-{i}"
            host = SimulatedHost(own, law, tally, name, fleet.kind, fleet.job_s)
            living.append(asyncio.create_task(host.live()))
        try:
            yield tally
        finally:
            for task in living:
                task.cancel()
            await asyncio.gather(*living, return_exceptions=True)
