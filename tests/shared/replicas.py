"""Several real servers of one Postgres: plain processes that can be frozen and killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

import httpx

# Imports everything once and forks a server for each line it reads: a start costs no import.
_FORKER = """
import json, os, signal, sys
import stillhouse_optimizer.propose, stillhouse_service.built_network
import stillhouse_compression.models
from stillhouse_service.server import serve
from stillhouse_service.settings import Settings
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.environ.update(json.loads(line))
        serve(Settings.from_environment(os.environ))
        os._exit(0)
    print(pid, flush=True)
"""
_PATIENCE_S = 120.0


class Replica:
    """One server process."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx.Client(base_url=self.url, timeout=60, verify=False)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    @property
    def drives(self) -> bool:
        """Whether it says that it drives; one that does not answer does not."""
        try:
            return bool(self.http.get("/healthz", timeout=2).json()["drives"])
        except httpx.TransportError:
            return False

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False


class Replicas:
    """Starts servers."""

    def __init__(self) -> None:
        self._forker = subprocess.Popen(
            [sys.executable, "-c", _FORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._all: list[Replica] = []

    def start(self, environment: Mapping[str, str]) -> Replica:
        """Start another one, and wait until it answers.

        Args:
            environment: Its settings, beside those of this process.
        """
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        told = {**environment, "STILLHOUSE_PORT": str(port)}
        print(json.dumps(told), file=self._forker.stdin, flush=True)
        replica = Replica(int(self._forker.stdout.readline()), port)
        self._all.append(replica)
        deadline = time.monotonic() + _PATIENCE_S
        while not replica.is_up():
            assert time.monotonic() < deadline, "a server does not start"
            time.sleep(0.02)
        return replica

    def end_all(self) -> None:
        """Kill the servers that run."""
        for replica in self._all:
            replica.http.close()
            for number in (signal.SIGKILL, signal.SIGCONT):
                with suppress(ProcessLookupError):
                    replica.send(number)
        self._all = []

    def stop(self) -> None:
        """Kill all of them, and end."""
        self.end_all()
        self._forker.communicate()
