"""Locks between processes of one machine: the host lock and one lock per device.

Depends on: the standard library, POSIX ``flock`` (which the kernel drops when a process dies).
docs/architecture.md, "Host lock", says why the host lock takes two files.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterator

from stillhouse_benchmark.errors import LockError


def lock_folder(folder: str | None = None) -> Path:
    """The folder of all locks, created if need be.

    Args:
        folder: Overrides ``STILLHOUSE_LOCK_DIR``, which overrides ``<tmp>/stillhouse-lock-<uid>``.
    """
    chosen = folder or os.environ.get("STILLHOUSE_LOCK_DIR")
    path = (
        Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"stillhouse-lock-{os.getuid()}"
    )
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def quiet_host(folder: Path) -> Iterator[None]:
    """Hold the machine quiet while timing: training waits until this ends.

    Waits until running minibatches have ended; no new ones begin meanwhile.
    """
    with _flock(folder / "turnstile", fcntl.LOCK_EX), _flock(folder / "host", fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def busy_host(folder: Path) -> Iterator[None]:
    """Hold the machine for one minibatch of training: waits while timing runs or wants to."""
    with _flock(folder / "turnstile", fcntl.LOCK_SH):
        pass
    with _flock(folder / "host", fcntl.LOCK_SH):
        yield


class DeviceLock:
    """One process at a time owns a device.

    Args:
        folder: As ``lock_folder`` gives it.
        device: OpenVINO's device name.
    """

    def __init__(self, folder: Path, device: str) -> None:
        name = re.sub(r"[^A-Za-z0-9]+", "-", device)
        self._path = folder / f"device-{name}"
        self._device = device
        self._file: int | None = None

    def take(self, wait_s: float = 0.0, sleep: Callable[[float], None] = time.sleep) -> None:
        """Take the lock and write our process id into it.

        Args:
            wait_s: How long to wait for another process to let go, seconds.
            sleep: Injected for tests.

        Raises:
            LockError: another process holds the device.
        """
        handle = os.open(str(self._path), os.O_RDWR | os.O_CREAT, 0o666)
        waited_s = 0.0
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    os.close(handle)
                    raise
                if waited_s >= wait_s:
                    holder = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
                    os.close(handle)
                    raise LockError(
                        f"device {self._device} is in use by another stillhouse-worker "
                        f"(process {holder}); stop that one, or give this one another --lock-dir "
                        "if the two devices are different ones"
                    ) from None
                sleep(0.2)
                waited_s += 0.2
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
        self._file = handle

    def release(self) -> None:
        """Let go; nothing happens when it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


@contextlib.contextmanager
def _flock(path: Path, kind: int) -> Iterator[None]:
    handle = os.open(str(path), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, kind)
        yield
    finally:
        os.close(handle)
