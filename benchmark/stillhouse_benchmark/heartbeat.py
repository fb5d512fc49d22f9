"""Proof of life for one lease, in a thread of its own.

Depends on: the standard library.
"""

from __future__ import annotations

import logging
import threading

from stillhouse_benchmark.client import Client
from stillhouse_benchmark.errors import BenchmarkError, LeaseLost, ServerUnreachable
from stillhouse_benchmark.logs import about
from stillhouse_benchmark.protocol import Lease

log = logging.getLogger("stillhouse.worker")


class Heartbeat:
    """Beats until it is closed; use it as a context.

    A server that is away does not end the job: a late result is taken when nobody else finished.

    Args:
        client: To the server.
        lease: Whose life to prove.
        every_s: How often.
    """

    def __init__(self, client: Client, lease: Lease, every_s: float) -> None:
        self._client = client
        self._lease = lease
        self._every_s = every_s
        self._progress = ("download", 0.0)
        self._end = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(timeout=60.0)

    def report(self, stage: str, fraction: float) -> None:
        """What the next beat tells."""
        self._progress = (stage, fraction)

    @property
    def is_given_up(self) -> bool:
        """Whether the job was cancelled, or the lease is somebody else's."""
        return self._given_up.is_set()

    def _beat(self) -> None:
        with about(lease=self._lease.id):
            self._beat_on()

    def _beat_on(self) -> None:
        while not self._end.wait(self._every_s):
            try:
                is_cancelled = self._client.heartbeat(self._lease, *self._progress)
            except LeaseLost as error:
                log.warning("lease %s is lost: %s", self._lease.id, error)
                self._given_up.set()
                return
            except ServerUnreachable as error:
                log.warning("no heartbeat: %s", error)
            except BenchmarkError as error:
                log.error("heartbeat refused: %s", error)
            else:
                if is_cancelled:
                    self._given_up.set()
                    return
