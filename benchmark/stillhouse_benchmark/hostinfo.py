"""The machine a measurement ran on.

Depends on: the standard library; Linux's ``/proc`` where there is one.
"""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path

from stillhouse_benchmark.protocol import HostState


def host_name() -> str:
    """This machine's name, without its domain."""
    return socket.gethostname().partition(".")[0] or "host"


def cpu_model() -> str:
    """The processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"


def load_1m() -> float | None:
    """Load average of the last minute, None where the system keeps none."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def host_state(
    runtime: str, runtime_version: str, temperature_c: float | None, n_threads: int
) -> HostState:
    """The host as it is now."""
    return HostState(
        cpu_model=cpu_model(),
        n_cpus=os.cpu_count() or 1,
        load_1m=load_1m(),
        runtime=runtime,
        runtime_version=runtime_version,
        temperature_c=temperature_c,
        n_threads=n_threads,
    )
