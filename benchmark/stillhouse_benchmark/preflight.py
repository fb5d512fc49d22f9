"""Can a device run this network? For the stick answered without the stick.

Depends on: the standard library; the runtime comes in as a ``Backend``.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Mapping

from stillhouse_benchmark.backends import Backend
from stillhouse_benchmark.backends.blame import unsupported_reason
from stillhouse_benchmark.check_job import CheckJob, CheckResult, Preflight
from stillhouse_benchmark.errors import BenchmarkError, JobFailed
from stillhouse_benchmark.onnxfile import read_onnx

# What 2021.4.2 says when the compiler is through and only the stick is missing.
NO_STICK = "there is no available devices with platform"
PLATFORM = "VPU_MYRIAD_2480"
STAGE = re.compile(r'label="\[(-?\d+) / \d+\] Stage [^"]*?\\lorigLayer = \[\\l\s+name = (.*?)\\l')
VERDICTS = ("unsupported", "out-of-memory")
WEIGHTED = ("Conv", "Gemm", "MatMul", "ConvTranspose")


def check_networks(
    job: CheckJob,
    backend: Backend,
    files: Mapping[str, Path],
    work_folder: Path,
    report: Callable[[str, float], None],
) -> CheckResult:
    """Do a check job.

    Args:
        job: What to do.
        backend: The runtime.
        files: Content hash -> path.
        work_folder: For names of our own; a runtime tells ONNX by its file's ending.
        report: Told the stage and the fraction of it that is done.

    Raises:
        BenchmarkError: this runtime has no compiler for the job's device.
        JobFailed: the compiler could not be asked, or a file is damaged.
    """
    started_s = time.perf_counter()
    found = {}
    for index, network in enumerate(job.networks):
        report("compile", index / len(job.networks))
        link = work_folder / f"{index}.onnx"
        os.symlink(str(files[network.file.sha256].resolve()), str(link))
        said = preflight(backend, link, job.device)
        if said.failure_class not in (None, *VERDICTS):  # it tells of this host, not of the network
            raise JobFailed(str(said.failure_class), "compile", f"{network.name}: {said.reason}")
        found[network.name] = said
    return CheckResult(found, backend.version, time.perf_counter() - started_s)


def check_outline(path: Path) -> None:
    """Refuse a damaged file, and a network we could not time, before the runtime sees it.

    Raises:
        JobFailed: ``bad-artifact``, or ``unsupported`` for open shapes and several inputs.
    """
    outline = read_onnx(path)
    if len(outline.inputs) != 1 or len(outline.outputs) != 1:
        raise JobFailed(
            "unsupported",
            "check",
            f"a network needs one input and one output, {path.name} has {len(outline.inputs)} "
            f"and {len(outline.outputs)}",
        )
    for name, shape in outline.inputs.items():
        if 0 in shape or not shape:
            told = ", ".join(str(size or "?") for size in shape)
            raise JobFailed(
                "unsupported",
                "check",
                f"input {name} has the open shape ({told}); export with a fixed shape such as "
                "(1, 3, 32, 32)",
            )


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
