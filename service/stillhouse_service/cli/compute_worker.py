"""`stillhouse compute-worker`: joins a Dask cluster with a process that trains and compresses.

Depends on: typer; distributed, which is imported when it is asked for.
"""

from __future__ import annotations

import asyncio
import os
from typing import Annotated, Any

import typer

from stillhouse_service.cluster import PRELOAD, worker_environment
from stillhouse_service.compute_log import log_as_told
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.settings import read_resources


def compute_worker(
    scheduler: Annotated[str, typer.Argument(help="tcp://host:8786 or tls://host:8786")],
    resources: Annotated[
        str, typer.Option(help="What it offers, e.g. 'GPU=1 GPU_MEMORY=24e9'.")
    ] = "",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of torch; else one for each core.")
    ] = None,
    ca: Annotated[str | None, typer.Option(help="tls: certificate of the signer, PEM.")] = None,
    cert: Annotated[str | None, typer.Option(help="tls: this worker's certificate, PEM.")] = None,
    key: Annotated[str | None, typer.Option(help="tls: the key of it, PEM.")] = None,
) -> None:
    """Compute for a server until Ctrl-C: one stage at a time, with the environment it wants.

    Its log is as STILLHOUSE_LOG_FORMAT and STILLHOUSE_LOG_LEVEL say.
    """
    offered = read_resources(resources)
    if offered is None:
        wanted = "must be amounts above 0 by name, such as `GPU=1 GPU_MEMORY=24e9`"
        raise SpecRejected([Problem("--resources", f"{wanted}, got {resources!r}")])
    log_as_told()
    asyncio.run(
        _work(
            scheduler, offered, threads or os.cpu_count() or 1, {"ca": ca, "cert": cert, "key": key}
        )
    )


async def _work(
    scheduler: str, resources: dict[str, float], n_threads: int, files: dict[str, str | None]
) -> None:
    import dask
    import distributed

    # Dask's own variables are left out: its malloc setting costs a training half of its speed.
    dask.config.set({"distributed.nanny.pre-spawn-environ": worker_environment(n_threads)})
    security: Any = distributed.Security
    nanny: Any = distributed.Nanny
    async with nanny(
        scheduler,
        nthreads=1,  # seeds and thread counts of torch belong to a process
        memory_limit=0,
        resources=resources or None,
        preload=PRELOAD,
        security=None
        if files["ca"] is None
        else security(
            tls_ca_file=files["ca"],
            tls_worker_cert=files["cert"],
            tls_worker_key=files["key"],
            require_encryption=True,
        ),
    ) as worker:
        typer.echo(f"computing for {scheduler} at {worker.worker_address}; Ctrl-C ends it")
        await worker.finished()
