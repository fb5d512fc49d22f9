"""OpenVINO 2021.4.2: the last runtime that drives the Neural Compute Stick 2; also its CPU.

Depends on: openvino == 2021.4.2 (``openvino.inference_engine``), numpy < 1.20; Python 3.6 to 3.9.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillhouse_benchmark.backends import Form
from stillhouse_benchmark.backends.blame import short_reason, unsupported_reason
from stillhouse_benchmark.errors import BenchmarkError, JobFailed
from stillhouse_benchmark.layers import NodeTime, Profile, middle_mean
from stillhouse_benchmark.protocol import COMPILES, Device

if TYPE_CHECKING:
    from stillhouse_benchmark.backends import Array

MAX_OPSET = 13
MO_LIMIT_S = 300.0
PRECISIONS = {"CPU": ("f32", "bf16"), "GPU": ("f32", "f16"), "MYRIAD": ("f16",)}


class InferenceEngineNetwork:
    """A loaded network with one request; see ``backends.Network``."""

    def __init__(self, network: Any, executable: Any) -> None:
        self.executable = executable
        self._request = executable.requests[0]
        name = next(iter(network.input_info))
        self.input_shape = tuple(int(s) for s in network.input_info[name].input_data.shape)
        self._input = self._request.input_blobs[name]
        self._output_name = next(iter(network.outputs))

    def write(self, image: Array) -> None:
        """Put the input in place."""
        self._input.buffer[:] = image

    def infer(self) -> None:
        """Run once."""
        self._request.infer()

    def read(self) -> Array:
        """A copy of the output, flat."""
        # A blob taken before the run holds no answer: this runtime copies on every look.
        blob = self._request.output_blobs[self._output_name]
        output: Array = np.array(blob.buffer, dtype=np.float32)
        return output.reshape(-1)

    def node_times_us(self) -> list[tuple[str, str, float]]:
        """Name, type and time of every executed node of the last run."""
        return [
            (name, told["layer_type"], float(told["real_time"]))
            for name, told in self._request.get_perf_counts().items()
            if told["status"] == "EXECUTED"
        ]


class InferenceEngine:
    """The runtime; see ``backends.Backend``."""

    name = "openvino2021"

    def __init__(self, module: Any) -> None:
        load_libusb()
        self.version = str(module.get_version()).split("-")[0]
        self.core = module.IECore()
        self._networks: dict[Path, Any] = {}

    def device_names(self) -> tuple[str, ...]:
        """Devices that are here now; the stick only when it is plugged in."""
        names = [name for name in self.core.available_devices if name != "MYRIAD"]
        return tuple(names) + (("MYRIAD",) if self.sticks() else ())

    def sticks(self) -> tuple[str, ...]:
        """Ids of the sticks that are plugged in; empty without the driver, too."""
        try:
            return tuple(self.core.get_metric("MYRIAD", "AVAILABLE_DEVICES"))
        except RuntimeError:  # no libusb
            return ()

    def describe(self, device: str, host: str) -> Device:
        """What a device is and can do."""
        kind = device.split(".")[0]
        if device not in self.device_names() or kind not in PRECISIONS:
            known = ", ".join(self.device_names()) or "none"
            raise BenchmarkError(
                f"no device {device!r} for runtime {self.name} {self.version}; here are: {known}"
                + ("; `stillhouse-worker doctor` says what is missing" * (kind == "MYRIAD"))
            )
        return Device(
            name=device,
            kind=kind,
            full_name=str(self.core.get_metric(device, "FULL_DEVICE_NAME")).strip() or device,
            runtime=self.name,
            runtime_version=self.version,
            precisions=PRECISIONS[kind],
            max_opset=MAX_OPSET,
            host=host,
            capabilities=("benchmark", f"{COMPILES}{kind}", *self._sticks_compiler(kind)),
        )

    def _sticks_compiler(self, kind: str) -> tuple[str, ...]:
        """The stick's compiler, which runs without one.

        With a stick plugged in it loads what it compiled, which would disturb whoever times there:
        then only the stick's own worker, which holds the device's lock, offers it.
        """
        try:
            sticks = self.core.get_metric("MYRIAD", "AVAILABLE_DEVICES")
        except RuntimeError:  # no libusb: the compiler does not load either
            return ()
        return () if sticks or kind == "MYRIAD" else (f"{COMPILES}MYRIAD",)

    def compile(
        self, path: Path, device: str, precision: str, n_threads: int
    ) -> InferenceEngineNetwork:
        """Compile afresh; the parsed network is kept from the first time."""
        return self._compile(path, device, precision, n_threads, {})

    def profile(
        self, path: Path, device: str, precision: str, n_threads: int, image: Array, n_runs: int
    ) -> Profile:
        """Node times as interquartile means, names from the executed graph."""
        network = self._compile(path, device, precision, n_threads, {"PERF_COUNT": "YES"})
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
        executed = _executed_graph(network.executable)
        nodes = [
            NodeTime(
                name,
                kinds[name],
                executed[name].originals if name in executed else (),
                middle_mean(times) / 1000.0,
            )
            for name, times in times_us.items()
        ]
        # The CPU's counters lose a last layer to the output node of the same name; the executed
        # graph has both, with the mean over all runs.
        nodes += [node for name, node in executed.items() if name not in times_us]
        order = {name: index for index, name in enumerate(executed)}
        nodes.sort(key=lambda node: order.get(node.name, len(order)))
        return Profile(tuple(nodes), middle_mean(wall_us) / 1000.0)

    def convert(self, path: Path, folder: Path, device: str) -> tuple[Form, ...]:
        """Write the network as read from ONNX; for the stick the Model Optimizer's in f16, too.

        The Model Optimizer (``pip install "./benchmark[mo]"``) is what the stick's own guide uses;
        a job loads ONNX directly, and the two must agree.
        """
        target = folder / f"{path.stem}-f32.xml"
        self.read(path).serialize(str(target), str(target.with_suffix(".bin")))
        forms = [Form("ir f32", target, f"{self.name} {self.version}")]
        if device.startswith("MYRIAD") and importlib.util.find_spec("mo") is not None:
            forms.append(model_optimizer(path, folder))
        return tuple(forms)

    def is_compilation_random(self, device: str) -> bool:
        """The stick's compiler gives the same blob every time."""
        return not device.startswith("MYRIAD")

    def temperature_c(self, device: str) -> float | None:
        """The stick's chip temperature."""
        if not device.startswith("MYRIAD"):
            return None
        try:
            return float(self.core.get_metric(device, "DEVICE_THERMAL"))
        except (RuntimeError, ValueError, TypeError):
            return None

    def read(self, path: Path) -> Any:
        """The parsed network.

        Raises:
            JobFailed: ``bad-artifact`` or ``unsupported``.
        """
        if path not in self._networks:
            try:
                self._networks[path] = self.core.read_network(str(path))
            except RuntimeError as error:
                raise unsupported_reason(path, "read", str(error)) from error
        return self._networks[path]

    def _compile(
        self, path: Path, device: str, precision: str, n_threads: int, extra: dict[str, str]
    ) -> InferenceEngineNetwork:
        kind = device.split(".")[0]
        if precision not in PRECISIONS.get(kind, ()):
            raise JobFailed(
                "unsupported",
                "compile",
                f"{device} computes in {', '.join(PRECISIONS.get(kind, ()))}, not in {precision}",
            )
        network = self.read(path)
        settings = dict(extra)
        if kind == "CPU":
            settings["ENFORCE_BF16"] = "YES" if precision == "bf16" else "NO"
            settings["CPU_THROUGHPUT_STREAMS"] = "1"
            if n_threads:
                settings["CPU_THREADS_NUM"] = str(n_threads)
        if kind == "MYRIAD":
            settings["MYRIAD_THROUGHPUT_STREAMS"] = "1"
            settings["MYRIAD_ENABLE_HW_ACCELERATION"] = "YES"
        try:
            executable = self.core.load_network(network, device, settings)
        except RuntimeError as error:
            raise unsupported_reason(path, "compile", str(error)) from error
        return InferenceEngineNetwork(network, executable)


def load() -> InferenceEngine:
    """The runtime as ``load_backend`` wants it."""
    return InferenceEngine(importlib.import_module("openvino.inference_engine"))


def model_optimizer(path: Path, folder: Path) -> Form:
    """Let 2021.4.2's Model Optimizer write a network in f16.

    Raises:
        JobFailed: ``unsupported``, with its reason.
    """
    name = f"{path.stem}-mo"
    arguments = ["--input_model", str(path), "--data_type", "FP16", "--silent"]
    arguments += ["--output_dir", str(folder), "--model_name", name]
    # Without the module that reports its use it tells nobody.
    code = (
        "import sys; sys.modules['openvino_telemetry'] = None\n"
        "from mo.main import main; from mo.utils.cli_parser import get_onnx_cli_parser\n"
        "sys.exit(main(get_onnx_cli_parser(), 'onnx'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=MO_LIMIT_S,
        check=False,
    )
    target = folder / f"{name}.xml"
    if done.returncode or not target.exists():
        told = done.stderr.decode("utf-8", "replace").strip()
        raise JobFailed("unsupported", "convert", f"the Model Optimizer: {short_reason(told)}")
    return Form("mo f16", target, "openvino-dev 2021.4.2")


def load_libusb() -> None:
    """Load libusb from the PyPI package where the system has none: the stick's driver needs it."""
    with contextlib.suppress(ImportError, OSError):
        package = importlib.import_module("libusb_package")
        ctypes.CDLL(str(package.get_library_path()), mode=ctypes.RTLD_GLOBAL)


def _executed_graph(executable: Any) -> dict[str, NodeTime]:
    """Executed nodes in their order, with the mean time over all runs; empty without a graph."""
    found: list[tuple[int, NodeTime]] = []
    with tempfile.TemporaryDirectory(prefix="stillhouse-graph-") as folder:
        path = Path(folder) / "graph.xml"
        try:
            executable.get_exec_graph_info().serialize(str(path), str(path.with_suffix(".bin")))
        except RuntimeError:
            return {}
        for layer in ElementTree.parse(str(path)).getroot().iter("layer"):
            data = layer.find("data")
            told = dict(data.attrib) if data is not None else {}
            if told.get("execTimeMcs", "not_executed") == "not_executed":
                continue
            name = str(layer.get("name"))
            originals = told.get("originalLayersNames", "")
            node = NodeTime(
                name,
                str(layer.get("type")),
                tuple(item for item in originals.split(",") if item),
                float(told["execTimeMcs"]) / 1000.0,
            )
            found.append((int(told.get("execOrder", 0)), node))
    return {node.name: node for _, node in sorted(found, key=lambda item: item[0])}
