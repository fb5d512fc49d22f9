"""Runtimes that run networks on devices: what each of them must offer, and how one is chosen.

Depends on: the standard library. The runtimes themselves are imported by their modules alone.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from stillhouse_benchmark.errors import BenchmarkError
from stillhouse_benchmark.layers import Profile
from stillhouse_benchmark.protocol import Device

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]


class Network(Protocol):
    """A compiled network with one inference request.

    Attributes:
        input_shape: Such as (1, 3, 32, 32).
    """

    input_shape: tuple[int, ...]

    def write(self, image: Array) -> None:
        """Put the input in place; shape ``input_shape``, float32, normalised."""

    def infer(self) -> None:
        """Run once and wait for it."""

    def read(self) -> Array:
        """A copy of the last run's output, shape (classes,)."""


class Form(NamedTuple):
    """A network as a file of the runtime's own kind.

    Attributes:
        name: As ``survival.Stage`` names it.
        path: The ``.xml``; weights lie in the ``.bin`` beside it.
        made_by: What wrote it, with its version.
    """

    name: str
    path: Path
    made_by: str


class Backend(Protocol):
    """A runtime.

    Attributes:
        name: As jobs and devices name it.
        version: The runtime's own.
    """

    name: str
    version: str

    def device_names(self) -> tuple[str, ...]:
        """Devices that are here now."""

    def describe(self, device: str, host: str) -> Device:
        """What a device is and can do.

        Raises:
            BenchmarkError: there is no such device; says which there are.
        """

    def compile(self, path: Path, device: str, precision: str, n_threads: int) -> Network:
        """Compile afresh.

        Args:
            path: ONNX, named ``*.onnx``.
            device: Of ``device_names``.
            precision: To compute in.
            n_threads: Inference threads where the device has such, 0 leaves it to the runtime.

        Raises:
            JobFailed: ``unsupported``, ``device-fault`` or ``out-of-memory``.
        """

    def profile(
        self, path: Path, device: str, precision: str, n_threads: int, image: Array, n_runs: int
    ) -> Profile:
        """Time every node, in a compilation of its own with profiling on."""

    def convert(self, path: Path, folder: Path, device: str) -> tuple[Form, ...]:
        """Write a network in the runtime's own forms, on its way to a device; may be none.

        Raises:
            JobFailed: the runtime cannot write it.
        """

    def is_compilation_random(self, device: str) -> bool:
        """Whether two compilations of one network can differ in speed."""

    def temperature_c(self, device: str) -> float | None:
        """The device's temperature where it tells one."""


RUNTIMES = {
    "openvino": ("openvino", "stillhouse_benchmark.backends.openvino"),
    "openvino2021": ("openvino.inference_engine", "stillhouse_benchmark.backends.openvino2021"),
}


def load_backend(name: str) -> Backend:
    """Load a runtime.

    Args:
        name: ``openvino``, ``openvino2021``, ``auto`` (whichever is installed), or
            ``module:factory`` of somebody else's.

    Raises:
        BenchmarkError: not installed, with what to install.
    """
    if ":" in name:
        module_name, _, factory = name.partition(":")
        try:
            backend: Backend = getattr(importlib.import_module(module_name), factory)()
        except (ImportError, AttributeError) as error:
            raise BenchmarkError(f"cannot load runtime {name}: {error}") from error
        return backend
    if name == "auto":
        name = _installed()
    if name not in RUNTIMES:
        raise BenchmarkError(
            f"unknown runtime {name!r}; known are auto, {', '.join(RUNTIMES)} and module:factory"
        )
    try:
        module = importlib.import_module(RUNTIMES[name][1])
    except ImportError as error:
        raise BenchmarkError(
            f'runtime {name} is not installed here ({error}); pip install "./benchmark[{name}]"'
        ) from error
    loaded: Backend = module.load()
    return loaded


def refuse_telemetry() -> None:
    """Keep openvino from reporting its own import to its maker.

    It does so from a forked process, which can hang this one (fork beside threads) and outlives
    it. Without the reporting module openvino tells nobody.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # not importable


def _installed() -> str:
    """The installed runtime; the old package has ``openvino.inference_engine`` and no ``Core``."""
    refuse_telemetry()
    try:
        importlib.import_module("openvino.inference_engine")
    except ImportError:
        return "openvino"
    except Exception as error:  # the package of 2022 to 2023 has both and is not supported
        raise BenchmarkError(f"openvino is installed but does not load: {error}") from error
    return "openvino2021"
