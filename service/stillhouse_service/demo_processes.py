"""The demo's processes: started with a log file, watched, and ended together.

Depends on: the standard library.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stillhouse_service.errors import ServiceError

_N_LOG_LINES = 15


class ProcessDied(ServiceError):
    """A process that the demo needs has ended."""


class Child:
    """One process; it dies with this one."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        keep_open: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it.

        Args:
            name: What a reader knows it by.
            command: Program's path and arguments.
            log: Gets what it prints, behind what is there.
            keep_open: File descriptor that stays open as long as it lives: the folder's lock.
            environment: Instead of this process's own.
        """
        self.name = name
        self.log = log
        # Its own session: Ctrl-C reaches the demo alone, which ends its children in order.
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stillhouse_service.demo_child", str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=() if keep_open is None else (keep_open,),
                env=environment,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check(self) -> None:
        """Make sure that it runs.

        Raises:
            ProcessDied: It has ended; the message has the last lines of its log.
        """
        status = self._process.poll()
        if status is None:
            return
        lines = self.log.read_text(errors="replace").splitlines()[-_N_LOG_LINES:]
        said = "\n".join(f"    {line}" for line in lines) or "    (nothing)"
        raise ProcessDied(
            f"the {self.name} ended with status {status}; it last said ({self.log}):\n{said}"
        )

    def ask_to_end(self) -> None:
        """Tell it to end; it may take its time."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self, patience_s: float = 10.0) -> None:
        """End it, by force if it does not within `patience_s`."""
        self.ask_to_end()
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def end_all(children: Sequence[Child]) -> None:
    """End processes, the last started first; a second Ctrl-C does not stop this."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for child in reversed(children):
            child.end()
    finally:
        signal.signal(signal.SIGINT, before)


def free_port() -> int:
    """Give a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(
    what: str, is_there: Callable[[], bool], children: Sequence[Child], timeout_s: float
) -> None:
    """Ask every quarter second until something is there.

    Args:
        what: Named in the error.
        is_there: Function without arguments that tells.
        children: Must all stay alive meanwhile.
        timeout_s: Longest wait.

    Raises:
        ProcessDied: One of `children` ended, or the time is over.
    """
    ends_at = time.monotonic() + timeout_s
    while not is_there():
        for child in children:
            child.check()
        if time.monotonic() > ends_at:
            logs = ", ".join(str(child.log) for child in children)
            raise ProcessDied(f"{what} did not come within {timeout_s:.0f} s; see {logs}")
        time.sleep(0.25)
