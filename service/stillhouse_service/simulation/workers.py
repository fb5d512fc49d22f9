"""Made-up compute workers: a real Dask cluster whose tasks do what the law says.

Depends on: distributed, tasks. All workers live in this process, so that fifty are as light as one;
scheduler, submission, cancellation and the ends of tasks are Dask's own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import stillhouse_service
from stillhouse_service.simulation import tasks
from stillhouse_service.simulation.law import Law

_REAL = "stillhouse_service.tasks"


@contextmanager
def _in_place_of_the_real() -> Iterator[None]:
    """Have `cluster.run_stage`, which Dask calls by its name, find the made-up tasks here."""
    before = sys.modules.get(_REAL), vars(stillhouse_service).get("tasks")
    sys.modules[_REAL] = tasks
    vars(stillhouse_service)["tasks"] = tasks
    try:
        yield
    finally:
        for kept, name, value in zip(
            (sys.modules, vars(stillhouse_service)), (_REAL, "tasks"), before, strict=True
        ):
            if value is None:
                del kept[name]
            else:
                kept[name] = value


@asynccontextmanager
async def simulated_workers(
    n: int, law: Law, stage_s: float, scheduler: str | None = None
) -> AsyncIterator[str]:
    """Start workers, and a scheduler unless one is named; give the scheduler's address.

    Args:
        n: How many workers.
        law: The world that holds for all of them: one in a process.
        stage_s: How long a stage takes, seconds.
        scheduler: Of a server that is to be served; none: a new one on this machine.
    """
    import distributed

    logging.getLogger("distributed").setLevel(logging.ERROR)  # it narrates every connection
    logging.getLogger("distributed.worker").setLevel(logging.CRITICAL)  # these die on purpose
    tasks.world = tasks.World(law, stage_s)
    scheduler_class: Any = distributed.Scheduler
    worker_class: Any = distributed.Worker
    async with AsyncExitStack() as stack:
        stack.enter_context(_in_place_of_the_real())
        if scheduler is None:
            own = await stack.enter_async_context(
                scheduler_class(
                    host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0", allowed_failures=0
                )
            )
            scheduler = str(own.address)
        for i in range(n):
            await stack.enter_async_context(
                worker_class(
                    scheduler,
                    nthreads=1,
                    name=f"simulated {i}",
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",
                )
            )
        yield scheduler
