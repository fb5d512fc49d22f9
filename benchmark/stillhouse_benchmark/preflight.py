"""Can a device run this network? For the stick answered without the stick.

Depends on: the standard library; the runtime comes in as a ``Backend``.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse_benchmark.backends import Backend
from stillhouse_benchmark.backends.blame import unsupported_reason
from stillhouse_benchmark.errors import BenchmarkError, JobFailed
from stillhouse_benchmark.job import check_outline
from stillhouse_benchmark.onnxfile import read_onnx
from stillhouse_benchmark.wire import Message

# What 2021.4.2 says when the compiler is through and only the stick is missing.
NO_STICK = "there is no available devices with platform"
PLATFORM = "VPU_MYRIAD_2480"
STAGE = re.compile(r'label="\[(-?\d+) / \d+\] Stage [^"]*?\\lorigLayer = \[\\l\s+name = (.*?)\\l')
WEIGHTED = ("Conv", "Gemm", "MatMul", "ConvTranspose")


@dataclass(frozen=True)
class Preflight(Message):
    """What a device's compiler says.

    Attributes:
        device: Asked for.
        runtime: Asked.
        is_supported: Whether it compiles.
        failure_class: Of ``FAILURE_CLASSES``, None when it is supported.
        reason: Why not; empty when it is supported.
        layers: Torch names of the layers to blame.
        blob_bytes: Size of the compiled network, where the device has such.
        stages: Torch layer -> stages it became, where the device has such.
        missing_layers: Layers with weights that became no stage of their own.
    """

    device: str
    runtime: str
    is_supported: bool
    failure_class: str | None = None
    reason: str = ""
    layers: tuple[str, ...] = ()
    blob_bytes: int | None = None
    stages: dict[str, int] | None = None
    missing_layers: tuple[str, ...] = ()


def preflight(backend: Backend, path: Path, device: str, precision: str | None = None) -> Preflight:
    """Compile a network for a device, plugged in or, for MYRIAD on 2021.4.2, not.

    Args:
        backend: The runtime.
        path: An ONNX file.
        device: OpenVINO's name; MYRIAD needs the runtime ``openvino2021``.
        precision: To compute in; None takes the device's first.

    Raises:
        BenchmarkError: the device is unknown to this runtime.
    """
    try:
        check_outline(path)
        if device.startswith("MYRIAD"):
            return _without_stick(backend, path, device)
        chosen = precision or backend.describe(device, "host").precisions[0]
        backend.compile(path, device, chosen, 1)
    except JobFailed as failed:
        return Preflight(
            device, backend.name, False, failed.failure_class, failed.reason, failed.layers
        )
    return Preflight(device, backend.name, True)


def _without_stick(backend: Any, path: Path, device: str) -> Preflight:
    """The stick's compiler, stopped by the missing stick after its work is done.

    Raises:
        JobFailed: the compiler refused, ``unsupported`` with the layer.
    """
    if backend.name != "openvino2021":
        raise BenchmarkError(
            "MYRIAD needs the runtime openvino2021 (Python 3.8 or 3.9): "
            'pip install "./benchmark[openvino2021]" there'
        )
    network = backend.read(path)
    with tempfile.TemporaryDirectory(prefix="stillhouse-myriad-") as name:
        folder = Path(name)
        graph = folder / "stages.dot"
        backend.core.set_config({"CACHE_DIR": str(folder)}, "")  # this runtime wants no name here
        settings = {
            "VPU_MYRIAD_PLATFORM": PLATFORM,
            "MYRIAD_DUMP_INTERNAL_GRAPH_FILE_NAME": str(graph),
        }
        try:
            backend.core.load_network(network, "MYRIAD", settings)
        except RuntimeError as error:
            if NO_STICK not in str(error):
                raise unsupported_reason(path, "compile", str(error)) from error
        blobs = [file.stat().st_size for file in folder.glob("*.blob")]
        if not blobs or not graph.exists():
            raise JobFailed("internal", "compile", "the stick's compiler left no blob behind")
        stages = _stages(graph.read_text(encoding="utf-8", errors="replace"))
    nodes = read_onnx(path).nodes
    weighted = [node.name for node in nodes if node.op_type in WEIGHTED]
    return Preflight(
        device,
        backend.name,
        True,
        blob_bytes=blobs[0],
        stages=stages,
        missing_layers=tuple(name for name in weighted if name not in stages),
    )


def _stages(graph: str) -> dict[str, int]:
    """Torch layer -> stages that run (their execution index is not negative)."""
    return dict(Counter(name for index, name in STAGE.findall(graph) if int(index) >= 0))
