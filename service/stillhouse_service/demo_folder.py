"""Where a demo lives: the first folder that is not finished, held by one demo at a time.

Depends on: the standard library.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stillhouse_service.errors import ServiceError

_PATIENCE_S = 20.0  # a killed demo's processes take a moment to end


class DemoRuns(ServiceError):
    """Another demo holds the folder."""


@dataclass(frozen=True)
class DemoFolder:
    """One run's folder.

    Attributes:
        path: `demo/`, or `demo/<n>` where that is finished.
        lock: Open file descriptor; children that inherit it keep the folder held.
    """

    path: Path
    lock: int

    @property
    def summary(self) -> Path:
        """Written last: a folder that has it is finished."""
        return self.path / "summary.json"


@contextmanager
def held_folder(
    root: Path, on_wait: Callable[[], None], patience_s: float = _PATIENCE_S
) -> Iterator[DemoFolder]:
    """Hold the folder of the demo to run: the first of `root`, `root/2`, ... without summary.

    Args:
        root: Made if it is not there.
        on_wait: Called once if another demo holds it and we wait.
        patience_s: How long.

    Raises:
        DemoRuns: Another demo still held it after that.
    """
    root.mkdir(parents=True, exist_ok=True)
    lock = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(lock, root, on_wait, patience_s)
        path, number = root, 1
        while DemoFolder(path, lock).summary.exists():
            number += 1
            path = root / str(number)
        path.mkdir(exist_ok=True)
        yield DemoFolder(path, lock)
    finally:
        os.close(lock)


def _take(lock: int, root: Path, on_wait: Callable[[], None], patience_s: float) -> None:
    ends_at = time.monotonic() + patience_s
    has_told = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > ends_at:
                raise DemoRuns(f"another demo is running in {root}/; end it first") from error
        if not has_told:
            on_wait()
            has_told = True
        time.sleep(0.2)
