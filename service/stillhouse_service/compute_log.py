"""The log of the processes that compute: as the operator wishes, Dask's own lines included.

Depends on: stillhouse_benchmark.logs, distributed.
"""

from __future__ import annotations

import logging
import os

from stillhouse_benchmark import logs
from stillhouse_benchmark.errors import BenchmarkError
from stillhouse_service.errors import Problem, SpecRejected

# Loggers that Dask gives a handler of its own.
_DASKS = ("distributed", "distributed.client", "tornado", "tornado.application", "bokeh")


def log_as_told() -> None:
    """Log as `STILLHOUSE_LOG_FORMAT` and `STILLHOUSE_LOG_LEVEL` say; by default text, from info on.

    Raises:
        SpecRejected: There is no such format or level.
    """
    import distributed  # noqa: F401  # gives its loggers their handlers; on use: it takes a second

    logs.tell_stacks_when_asked()
    environment = os.environ.get
    try:
        logs.configure(
            environment("STILLHOUSE_LOG_FORMAT") or "text",
            environment("STILLHOUSE_LOG_LEVEL") or "info",
        )
    except BenchmarkError as error:
        raise SpecRejected([Problem("STILLHOUSE_LOG_*", str(error))]) from None
    for name in _DASKS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # It narrates every connection.
    logging.getLogger("distributed").setLevel(logging.WARNING)
