"""Runtimes for tests that hang, crash or refuse; loaded by the worker as ``bad_devices:name``."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.protocol import Device


class BadRuntime:
    """Finds a CPU; what compiling does is the subclass's badness."""

    name = "bad"
    version = "0"

    def device_names(self) -> tuple[str, ...]:
        return ("CPU",)

    def describe(self, device: str, host: str) -> Device:
        return Device(device, "CPU", "bad", self.name, self.version, ("f32",), 13, host)

    def compile(self, path: Path, device: str, precision: str, n_threads: int) -> Any:
        return self.misbehave()

    def misbehave(self) -> Any:
        raise AssertionError("a subclass misbehaves")


class Hanging(BadRuntime):
    def misbehave(self) -> Any:
        time.sleep(3600)


class Crashing(BadRuntime):
    def misbehave(self) -> Any:
        os.abort()


class Refusing(BadRuntime):
    def misbehave(self) -> Any:
        raise JobFailed("unsupported", "compile", "no such layer here", ("fc",))


hanging, crashing, refusing = Hanging, Crashing, Refusing
