"""`stillhouse verify`: does a network arrive on a device as it left torch?

Depends on: typer, rich, pyyaml; stillhouse_benchmark's inference process; stillhouse_compression,
imported when asked for: it brings torch along.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console

from stillhouse_benchmark.errors import BenchmarkError, JobFailed
from stillhouse_benchmark.supervise import InferenceChild
from stillhouse_service import survival
from stillhouse_service.cli.options import AsJson, print_json
from stillhouse_service.cli.survival_table import print_survival
from stillhouse_service.errors import Problem, SpecRejected

if TYPE_CHECKING:
    from torch import nn

    from stillhouse_compression.datasets import Dataset

_LIMIT_S = 900.0


def verify(
    model: Annotated[str, typer.Argument(help="Name of a network, such as resnet20_cifar.")],
    schedule: Annotated[
        Path | None,
        typer.Argument(help="A plain schedule, run without training (trial show --schedule)."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="safetensors file; else seeded random weights.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Whose validation images are the probe; else noise.")
    ] = None,
    device: Annotated[str, typer.Option(help="MYRIAD needs no stick for this.")] = "CPU",
    python: Annotated[
        str, typer.Option(help="Interpreter whose environment has the device's runtime.")
    ] = sys.executable,
    quantised: Annotated[
        bool, typer.Option("--quantised", help="Also in int8 (NNCF): who takes it, who refuses it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Follow a network from torch to a device on this machine; 1 when something is lost."""
    from stillhouse_compression.errors import CompressionError

    console = Console(highlight=False, markup=False)
    with tempfile.TemporaryDirectory(prefix="stillhouse-verify-") as name:
        try:
            report = _follow(
                Path(name), model, schedule, weights, dataset, device, python, quantised
            )
        except CompressionError as error:
            raise SpecRejected([Problem(model, str(error))]) from error
        except BenchmarkError as error:
            raise SpecRejected([Problem("--device", str(error))]) from error
    if as_json:
        print_json(report)
    else:
        _print(report, console)
    if report["problem"] is not None:
        raise typer.Exit(1)


def _follow(
    folder: Path,
    name: str,
    schedule: Path | None,
    weights: Path | None,
    dataset: str | None,
    device: str,
    python: str,
    quantised: bool,
) -> dict[str, Any]:
    """Build, prune, export, and look at every form; what is lost becomes `problem`."""
    from stillhouse_compression.errors import SurvivalError
    from stillhouse_compression.export import export_onnx
    from stillhouse_compression.probe import make_probe
    from stillhouse_compression.survival import trace

    network, data = _network(name, schedule, weights, dataset)
    onnx, probe = export_onnx(network, data.info.shape), make_probe(network, data)
    report: dict[str, Any] = {"model": name, "device": device, "stages": [], "problem": None}
    try:
        report["stages"] = trace(network, onnx, probe)
    except SurvivalError as error:
        return report | {"problem": str(error)}
    files = {"network.onnx": onnx, "inputs.npy": probe.inputs, "outputs.npy": probe.outputs}
    for file, content in files.items():
        (folder / file).write_bytes(content)
    path, given = folder / "network.onnx", (folder / "inputs.npy", folder / "outputs.npy")
    child = InferenceChild("auto", python=python)
    try:
        report["stages"] += child.survey(path, device, given, folder, _LIMIT_S)
    except JobFailed as failed:
        layers = f" at {', '.join(failed.layers)}" if failed.layers else ""
        return report | {"problem": f"{failed.failure_class}{layers}: {failed.reason}"}
    finally:
        child.kill()
    loss = survival.first_loss(report["stages"], {})
    if loss is not None:
        report["problem"] = f"stage {loss.stage}: {loss.reason}"
    if quantised:
        report["quantised"] = _quantised(folder, onnx, probe.inputs, device, python)
    return report


def _network(
    name: str, schedule: Path | None, weights: Path | None, dataset: str | None
) -> tuple[nn.Module, Dataset]:
    """Give the network in evaluation mode, pruned by the schedule, and images for it."""
    from stillhouse_compression import datasets, models
    from stillhouse_compression.dry_run import prune_untrained, random_data
    from stillhouse_compression.layers import check_input
    from stillhouse_compression.seeding import seeded
    from stillhouse_compression.weights import load_weights

    info = models.model_info(name)
    if dataset is None:
        data = random_data(info.input_shape, info.n_classes_default)
    else:
        data = datasets.load(dataset)
    with seeded(0, None):
        network = models.build(name, data.info.n_classes)
    check_input(network, data.info.shape, data.info.n_classes)
    if weights is not None:
        load_weights(network, _read(weights, "--weights"))
    if schedule is not None:
        plain = _schedule(schedule)
        training = {"epochs": _n_epochs(plain), "recovery_epochs": 0}
        prune_untrained(network, plain, training, data)
    return network.eval(), data


def _schedule(path: Path) -> Mapping[str, Any]:
    try:
        plain = yaml.safe_load(_read(path, "SCHEDULE"))
    except yaml.YAMLError as error:
        raise SpecRejected([Problem(str(path), f"no plain schedule: {error}")]) from error
    if not isinstance(plain, Mapping):
        raise SpecRejected([Problem(str(path), "no schedule: wanted a mapping")])
    return plain


def _n_epochs(schedule: Mapping[str, Any]) -> int:
    """How long the schedule runs: one past the last epoch of any policy."""
    ends = [1]
    for policy in schedule.get("policies") or ():
        epochs = policy.get("epochs")
        ends.append(max(epochs) + 1 if epochs else int(policy.get("ending_epoch", 1)))
    return max(ends)


def _quantised(
    folder: Path, onnx: bytes, inputs: bytes, device: str, python: str
) -> dict[str, Any]:
    """Say which runtime takes the int8 form, and which layer another refuses."""
    from stillhouse_compression.quantise import quantise

    path = folder / "quantised.onnx"
    path.write_bytes(quantise(onnx, inputs))
    child = InferenceChild("auto", python=python)
    try:
        return dict(child.check(path, device, _LIMIT_S)) | {"bytes": path.stat().st_size}
    finally:
        child.kill()


def _read(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpecRejected([Problem(where, f"cannot read {path}: {error.strerror}")]) from error


def _print(report: Mapping[str, Any], console: Console) -> None:
    if report["stages"]:
        print_survival(report["stages"], console)
    for stage in report["stages"]:
        if stage.get("missing_layers"):
            console.print(f"no stage of their own: {', '.join(stage['missing_layers'])}")
    if "quantised" in report:
        found = report["quantised"]
        verb = "takes" if found["is_supported"] else "refuses"
        told = f"{found['runtime']} on {found['device']} {verb} the int8 form"
        told += f" of {found['bytes']} bytes"
        if not found["is_supported"]:
            told += f" at {', '.join(found['layers']) or 'no layer it names'}: {found['reason']}"
        console.print(told, soft_wrap=True)
    problem = report["problem"]
    console.print("nothing was lost" if problem is None else f"LOST: {problem}", soft_wrap=True)
