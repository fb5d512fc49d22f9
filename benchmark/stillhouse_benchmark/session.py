"""The host's standing with its server: registered under a name, registered anew when forgotten.

Depends on: the standard library. Shared by the loops of all devices of one host.
"""

from __future__ import annotations

import logging
import random
import threading
from typing import Callable, Sequence, TypeVar

from stillhouse_benchmark.client import Client
from stillhouse_benchmark.errors import ServerUnreachable
from stillhouse_benchmark.protocol import Device, Registered

log = logging.getLogger("stillhouse.worker")
T = TypeVar("T")
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0


class Session:
    """Registers the host when needed.

    Args:
        client: To the server.
        name: The host's name on the server; the same name keeps its ids.
        version: Of this package.
        devices: What to announce.
    """

    def __init__(self, client: Client, name: str, version: str, devices: Sequence[Device]) -> None:
        self.client = client
        self._name = name
        self._version = version
        self._devices = tuple(devices)
        self._lock = threading.Lock()
        self._registered: Registered | None = None

    def registered(self) -> Registered:
        """Our ids; registers on the first call.

        Raises:
            ServerError: refused, or not reachable.
        """
        with self._lock:
            if self._registered is None:
                answer = self.client.register(self._name, self._version, self._devices)
                log.info("registered as %s with %s", answer.id, ", ".join(answer.device_ids))
                self._registered = answer
            return self._registered

    def forget(self, stale: Registered) -> None:
        """The server does not know these ids: the next call registers again."""
        with self._lock:
            if self._registered is stale:
                self._registered = None


class Backoff:
    """Waits longer after every failure in a row, up to half a minute, with some chance in it.

    Args:
        wait: Waits so many seconds; returns true when told to stop meanwhile.
        rng: Spreads the hosts of one server that came back.
    """

    def __init__(self, wait: Callable[[float], bool], rng: random.Random | None = None) -> None:
        self._wait = wait
        self._rng = rng or random.Random()
        self._next_s = FIRST_WAIT_S

    def succeed(self) -> None:
        """The server answered."""
        self._next_s = FIRST_WAIT_S

    def fail(self) -> bool:
        """Wait; returns true when told to stop meanwhile."""
        wait_s = self._next_s * self._rng.uniform(0.7, 1.3)
        self._next_s = min(LONGEST_WAIT_S, self._next_s * 2.0)
        return self._wait(wait_s)


def until_reached(call: Callable[[], T], backoff: Backoff, what: str) -> T | None:
    """Repeat a call until the server is reached; None when told to stop before."""
    while True:
        try:
            value = call()
        except ServerUnreachable as error:
            log.warning("%s: %s; trying again", what, error)
            if backoff.fail():
                return None
        else:
            backoff.succeed()
            return value
