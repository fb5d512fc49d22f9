"""What is left of a network in every form its runtime gives it on the way to the device.

Depends on: numpy; the runtime comes in as a ``Backend``. Weights of a compiled network cannot be
read; there the answers to the probe batch speak, and the stick's compiler tells its stages.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillhouse_benchmark.backends import Backend, Network
from stillhouse_benchmark.check_job import Preflight
from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.irfile import read_weights
from stillhouse_benchmark.preflight import preflight
from stillhouse_benchmark.protocol import Agreement, Stage
from stillhouse_benchmark.verify import agreement

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]


def survey(
    backend: Backend, path: Path, device: str, inputs: Array, reference: Array, folder: Path
) -> tuple[Stage, ...]:
    """Write a network in the runtime's own forms and look at each.

    Args:
        backend: The runtime; its CPU runs every form in f32, so that what differs is the form's.
        path: ONNX.
        device: Where the network will run.
        inputs: Probe batch (n, channels, height, width), normalised.
        reference: Torch's outputs, (n, classes).
        folder: Where to write.

    Raises:
        JobFailed: the runtime cannot compile what it wrote itself.
    """
    stages = []
    for form in backend.convert(path, folder, device):
        network = backend.compile(form.path, "CPU", "f32", 1)
        stages.append(
            Stage(
                name=form.name,
                made_by=form.made_by,
                layers=read_weights(form.path),
                agreement=agreement(run_all(network, inputs), reference),
            )
        )
    return tuple(stages)


def survey_to_device(
    backend: Backend, path: Path, device: str, inputs: Array, reference: Array, folder: Path
) -> tuple[Stage, ...]:
    """The same, and the device as the last stage; MYRIAD without a stick only compiles.

    Raises:
        JobFailed: the runtime or the device refuses the network.
        BenchmarkError: no such device.
    """
    forms = survey(backend, path, device, inputs, reference, folder)
    compiled = None
    if device.startswith("MYRIAD"):
        compiled = preflight(backend, path, device)
        if not compiled.is_supported:
            raise JobFailed(
                str(compiled.failure_class), "compile", compiled.reason, compiled.layers
            )
    if compiled is not None and device not in backend.device_names():
        return (
            *forms,
            device_stage(f"{backend.name}'s compiler, no {device} here", None, compiled),
        )
    precision = backend.describe(device, "host").precisions[0]
    network = backend.compile(path, device, precision, 1)
    made_by = f"{backend.name} {backend.version} on {device} in {precision}"
    found = agreement(run_all(network, inputs), reference)
    return (*forms, device_stage(made_by, found, compiled))


def device_stage(made_by: str, found: Agreement | None, compiled: Preflight | None = None) -> Stage:
    """The last stage: the network as the device runs it.

    Args:
        made_by: Runtime and device.
        found: Its answers against torch's; None where it could not run.
        compiled: What the device's compiler told, if it tells anything.
    """
    if compiled is None:
        return Stage("device", made_by, agreement=found)
    return Stage(
        "device",
        made_by,
        agreement=found,
        n_stages=compiled.stages,
        missing_layers=compiled.missing_layers,
        blob_bytes=compiled.blob_bytes,
    )


def run_all(network: Network, inputs: Array) -> Array:
    """Answers to a batch, image by image; shape (n, classes)."""
    rows = []
    for index in range(len(inputs)):
        network.write(inputs[index : index + 1])
        network.infer()
        rows.append(network.read())
    return np.stack(rows)
