"""Training's side of the host lock: minibatches wait while a device times on the same machine.

Two files in one folder, as docs/architecture.md has them: timing takes ``turnstile`` and then
``host`` exclusively; every minibatch passes the turnstile and holds ``host`` shared.

Depends on: the standard library (POSIX ``flock``). The timing side lives in the device host's
package; the two share only the file names.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER_VARIABLE = "STILLHOUSE_LOCK_DIR"


def default_folder() -> Path:
    """Where the lock files lie: ``STILLHOUSE_LOCK_DIR``, or a folder of this user's."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else Path(tempfile.gettempdir()) / f"stillhouse-lock-{os.getuid()}"


class HostLock:
    """One trainer's hold on the machine.

    The two files are opened once; each task needs a lock of its own, because ``flock`` belongs
    to an open file, and two tasks that shared one would release for each other.

    Args:
        folder: Where the files lie; made when missing. None takes `default_folder`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = default_folder() if folder is None else folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._turnstile = os.open(folder / "turnstile", flags, 0o600)
        self._host = os.open(folder / "host", flags, 0o600)

    @contextmanager
    def minibatch(self) -> Iterator[None]:
        """Hold the machine for one minibatch; waits while timing runs or waits to run."""
        fcntl.flock(self._turnstile, fcntl.LOCK_SH)
        fcntl.flock(self._turnstile, fcntl.LOCK_UN)
        fcntl.flock(self._host, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._host, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close both files; the lock cannot be used afterwards."""
        os.close(self._turnstile)
        os.close(self._host)

    def __enter__(self) -> HostLock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
