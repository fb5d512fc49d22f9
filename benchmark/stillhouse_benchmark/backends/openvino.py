"""Today's OpenVINO: CPU, GPU and NPU.

Depends on: openvino >= 2025, numpy; Python >= 3.10.
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillhouse_benchmark.backends import Form, refuse_telemetry
from stillhouse_benchmark.backends.blame import unsupported_reason
from stillhouse_benchmark.errors import BenchmarkError
from stillhouse_benchmark.layers import NodeTime, Profile, middle_mean
from stillhouse_benchmark.protocol import COMPILES, Device

if TYPE_CHECKING:
    from stillhouse_benchmark.backends import Array

refuse_telemetry()
openvino: Any = importlib.import_module("openvino")

PRECISION_HINTS = {"f32": "f32", "f16": "f16", "bf16": "bf16", "i8": "f32"}
CAPABILITIES = {"FP32": "f32", "FP16": "f16", "BF16": "bf16", "INT8": "i8"}
MAX_OPSET = 21


class OpenVinoNetwork:
    """A compiled model with one request; see ``backends.Network``."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._input = self._request.get_input_tensor()
        self.input_shape = tuple(int(size) for size in self._input.shape)
        self.compiled = compiled

    def write(self, image: Array) -> None:
        """Put the input in place."""
        self._input.data[:] = image

    def infer(self) -> None:
        """Run once; outputs stay where they are (``read`` copies)."""
        self._request.infer(share_outputs=True)

    def read(self) -> Array:
        """A copy of the output, flat."""
        output: Array = np.array(self._request.get_output_tensor().data, dtype=np.float32)
        return output.reshape(-1)

    def node_times_us(self) -> list[tuple[str, str, float]]:
        """Name, type and time of every executed node of the last run."""
        return [
            (info.node_name, info.node_type, info.real_time.total_seconds() * 1e6)
            for info in self._request.get_profiling_info()
            if str(info.status).endswith(".EXECUTED")
        ]


class OpenVino:
    """The runtime; see ``backends.Backend``."""

    name = "openvino"

    def __init__(self) -> None:
        self.version = openvino.get_version().split("-")[0]
        self._core = openvino.Core()
        self._models: dict[Path, Any] = {}

    def device_names(self) -> tuple[str, ...]:
        """Devices that are here now."""
        return tuple(self._core.available_devices)

    def describe(self, device: str, host: str) -> Device:
        """What a device is and can do."""
        if device not in self.device_names():
            known = ", ".join(self.device_names()) or "none"
            raise BenchmarkError(
                f"no device {device!r} for runtime {self.name} {self.version}; here are: {known}"
            )
        told = self._core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        kind = device.split(".")[0]
        precisions = {CAPABILITIES[item] for item in told if item in CAPABILITIES}
        order = ("f16", "f32", "bf16", "i8") if kind == "NPU" else ("f32", "f16", "bf16", "i8")
        return Device(
            name=device,
            kind=kind,
            full_name=str(self._core.get_property(device, "FULL_DEVICE_NAME")).strip() or device,
            runtime=self.name,
            runtime_version=self.version,
            precisions=tuple(item for item in order if item in precisions) or ("f32",),
            max_opset=MAX_OPSET,
            host=host,
            capabilities=("benchmark", f"{COMPILES}{kind}"),
        )

    def compile(self, path: Path, device: str, precision: str, n_threads: int) -> OpenVinoNetwork:
        """Compile afresh; the parsed model is kept from the first time."""
        return self._compile(path, device, precision, n_threads, {})

    def profile(
        self, path: Path, device: str, precision: str, n_threads: int, image: Array, n_runs: int
    ) -> Profile:
        """Node times as interquartile means, names from the runtime's executed graph."""
        network = self._compile(path, device, precision, n_threads, {"PERF_COUNT": True})
        network.write(image)
        for _ in range(3):
            network.infer()
        wall_us: list[float] = []
        times_us: dict[str, list[float]] = {}
        kinds: dict[str, str] = {}
        for _ in range(n_runs):
            started_s = time.perf_counter()
            network.infer()
            wall_us.append((time.perf_counter() - started_s) * 1e6)
            for name, kind, node_us in network.node_times_us():
                times_us.setdefault(name, []).append(node_us)
                kinds[name] = kind
        originals = _originals(network.compiled)
        nodes = tuple(
            NodeTime(name, kinds[name], originals.get(name, ()), middle_mean(times) / 1000.0)
            for name, times in times_us.items()
        )
        return Profile(nodes, middle_mean(wall_us) / 1000.0)

    def convert(self, path: Path, folder: Path, device: str) -> tuple[Form, ...]:
        """Write the model with its weights in f32 and in f16."""
        model = self._read(path)
        forms = []
        for name, is_half in (("ir f32", False), ("ir f16", True)):
            target = folder / f"{path.stem}-{name[3:]}.xml"
            openvino.save_model(model, str(target), compress_to_fp16=is_half)
            forms.append(Form(name, target, f"{self.name} {self.version}"))
        return tuple(forms)

    def is_compilation_random(self, device: str) -> bool:
        """Memory lies elsewhere after every compilation: 2 to 3 % on CPU."""
        return True

    def temperature_c(self, device: str) -> float | None:
        """The current runtime tells none."""
        return None

    def _read(self, path: Path) -> Any:
        if path not in self._models:
            try:
                self._models[path] = self._core.read_model(str(path))
            except RuntimeError as error:
                raise unsupported_reason(path, "read", str(error)) from error
        return self._models[path]

    def _compile(
        self, path: Path, device: str, precision: str, n_threads: int, extra: dict[str, Any]
    ) -> OpenVinoNetwork:
        model = self._read(path)
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            **extra,
        }
        if device.startswith("CPU"):
            settings["NUM_STREAMS"] = 1
            if n_threads:
                settings["INFERENCE_NUM_THREADS"] = n_threads
        try:
            return OpenVinoNetwork(self._core.compile_model(model, device, settings))
        except RuntimeError as error:
            raise unsupported_reason(path, "compile", str(error)) from error


def load() -> OpenVino:
    """The runtime as ``load_backend`` wants it."""
    if not hasattr(openvino, "Core"):
        raise BenchmarkError(
            "the installed openvino has no Core: it is an old one; use --runtime openvino2021"
        )
    return OpenVino()


def _originals(compiled: Any) -> dict[str, tuple[str, ...]]:
    """Executed node -> names of the nodes it was made of."""
    found = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        text = str(info["originalLayersNames"].value) if "originalLayersNames" in info else ""
        found[node.get_friendly_name()] = tuple(name for name in text.split(",") if name)
    return found
