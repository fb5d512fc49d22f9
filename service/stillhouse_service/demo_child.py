"""Runs a command that dies with its parent, even when the parent is killed with SIGKILL.

`python -m stillhouse_service.demo_child PARENT_PID COMMAND...` asks the kernel for SIGTERM at its
parent's death, then becomes the command. Asked in the child itself: code between fork and exec in
a parent with threads is not safe.

Depends on: the standard library. Linux only; elsewhere the command runs without this promise.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: Sequence[str]) -> None:
    """Become the command; never returns."""
    parent, command = int(arguments[0]), list(arguments[1:])
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"prctl: {os.strerror(error)}")
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
