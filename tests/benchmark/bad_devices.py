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


class _Pulled:
    """A network of the real CPU; its device is pulled out in the middle of the timing."""

    def __init__(self, network: Any, plug: Path) -> None:
        self._network, self._plug = network, plug
        self._n_runs = 0
        self.input_shape = network.input_shape
        self.write, self.read = network.write, network.read

    def infer(self) -> None:
        self._n_runs += 1
        if self._n_runs > 60 and not (self._plug.parent / "pulled-once").exists():
            (self._plug.parent / "pulled-once").touch()
            self._plug.unlink()
        if not self._plug.exists():
            raise RuntimeError("Failed to read output from FIFO: NC_ERROR, X_LINK_ERROR")
        self._network.infer()


def unplugged() -> Any:
    """The real runtime, whose device is there as long as a file is."""
    from stillhouse_benchmark.backends.openvino import OpenVino

    plug = Path(os.environ["STILLHOUSE_TEST_PLUG"])

    class Unplugged(OpenVino):
        name = "unplugged"

        def compile(self, path: Path, device: str, precision: str, n_threads: int) -> Any:
            if not plug.exists():
                raise JobFailed("device-fault", "compile", "no device: X_LINK_ERROR")
            return _Pulled(super().compile(path, device, precision, n_threads), plug)

    return Unplugged()


hanging, crashing, refusing = Hanging, Crashing, Refusing
