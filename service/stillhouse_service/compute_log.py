"""The log of the processes that compute: as the operator wishes, Dask's own lines included.

Depends on: stillhouse_benchmark.logs.
"""

from __future__ import annotations

import logging
import os

from stillhouse_benchmark import logs

# Loggers that Dask gives a handler of its own.
_DASKS = ("distributed", "distributed.client", "tornado", "tornado.application", "bokeh")


def log_as_told() -> None:
    """Log as `STILLHOUSE_LOG_FORMAT` and `STILLHOUSE_LOG_LEVEL` say; by default text, from info on.

    Raises:
        BenchmarkError: There is no such format.
    """
    environment = os.environ.get
    level = environment("STILLHOUSE_LOG_LEVEL") or "info"
    logs.configure(environment("STILLHOUSE_LOG_FORMAT") or "text", level)
    for name in _DASKS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # It narrates every connection.
    logging.getLogger("distributed").setLevel(logging.WARNING)
