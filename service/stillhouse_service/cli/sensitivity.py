"""`stillhouse sensitivity`: how much each layer of a baseline suffers from pruning.

Depends on: typer, rich; the client; stillhouse_compression, whose parts that bring torch along are
imported when asked for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from stillhouse import Baseline, Client
from stillhouse_compression.errors import CompressionError, nearest
from stillhouse_service.baseline_choice import complete_baseline
from stillhouse_service.cli.options import DEFAULT_SERVER, AsJson, Server, print_json
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.report import wording

if TYPE_CHECKING:
    from torch import nn

    from stillhouse_compression.sensitivity import SensitivityAnalysis, SensitivityRow, Test

_GROUPS = ("element", "filter", "channel")


def sensitivity(
    named: Annotated[
        str,
        typer.Argument(
            metavar="BASELINE", help="A complete baseline's id, or a network: its newest one."
        ),
    ],
    dataset: Annotated[str | None, typer.Option(help="With a network: of this data set.")] = None,
    levels: Annotated[
        str, typer.Option(help="Sparsities to try, 0 to 1, with commas.")
    ] = "0.1,0.3,0.5,0.7,0.9",
    group: Annotated[str, typer.Option(help="What is pruned: element, filter, channel.")] = (
        "element"
    ),
    layers: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Weights as in a schedule; may be repeated. Else all."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file to write the plot to.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Prune one layer at a time on this machine and test it on the validation split."""
    wanted = _levels(levels)
    if group not in _GROUPS:
        text = f"wanted one of {', '.join(_GROUPS)}, got {group!r}{nearest(group, _GROUPS)}"
        raise SpecRejected([Problem("--group", text)])
    if output is not None and not output.absolute().parent.is_dir():
        raise SpecRejected([Problem("--output", f"there is no folder {output.parent}")])
    with Client(server) as client:
        baseline = complete_baseline(client, named, dataset)
        weights = client.artifacts.download(baseline.artifacts["weights"])
    try:
        model, test = _network(baseline, weights)
    except CompressionError as error:
        raise SpecRejected([Problem(baseline.id, str(error))]) from error
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        dense, analysis = _analyse(model, test, wanted, group, layers, progress)
    if output is not None:
        output.write_text(analysis.to_html(), encoding="utf-8")
    if as_json:
        print_json(_document(baseline, dense, analysis))
        return
    told = Console(highlight=False, markup=False)
    told.print(
        f"{baseline.id}, {baseline.model} on {baseline.dataset}, validation split: "
        f"dense Top-1 {wording.value('top1', dense[0])}, loss {dense[2]:.4f}",
        soft_wrap=True,
    )
    told.print(_table(analysis.rows))
    if output is not None:
        told.print(str(output), soft_wrap=True)


def _levels(text: str) -> list[float]:
    """Read levels, in rising order, each once."""
    problems, levels = [], set()
    for part in text.split(","):
        try:
            level = float(part)
        except ValueError:
            problems.append(Problem("--levels", f"wanted numbers with commas, got {part!r}"))
            continue
        if not 0.0 <= level <= 1.0:  # NaN as well
            problems.append(Problem("--levels", f"a sparsity lies in 0 to 1, got {part.strip()}"))
        levels.add(level)
    if problems:
        raise SpecRejected(problems)
    return sorted(levels)


def _network(baseline: Baseline, weights: bytes) -> tuple[nn.Module, Test]:
    """Build the trained network and what tests a copy of it on the validation split."""
    import torch

    from stillhouse_compression import datasets, models
    from stillhouse_compression.evaluate import evaluate
    from stillhouse_compression.hooks import Hooks
    from stillhouse_compression.train import Images
    from stillhouse_compression.weights import load_weights

    data = datasets.load(baseline.dataset)
    model = models.build(baseline.model, data.info.n_classes)
    load_weights(model, weights)
    images = Images(data, "validation", torch.device("cpu"))

    def test(pruned: nn.Module) -> tuple[float, float, float]:
        score = evaluate(pruned, images, Hooks())
        return score.top1, score.top5, score.loss

    return model, test


def _analyse(
    model: nn.Module,
    test: Test,
    levels: list[float],
    group: str,
    layers: list[str] | None,
    progress: Progress,
) -> tuple[tuple[float, float, float], SensitivityAnalysis]:
    from stillhouse_compression.sensitivity import fitting_parameters, sensitivity_analysis

    kind: Any = group
    try:
        names = fitting_parameters(model, kind, layers or None)
    except CompressionError as error:
        raise SpecRejected([Problem("--layers", str(error))]) from error
    task = progress.add_task("dense", total=len(names) * len(levels))

    def tell(row: SensitivityRow) -> None:
        progress.update(task, advance=1, description=f"{row.parameter} {row.level:g}")

    return test(model), sensitivity_analysis(model, test, levels, names, kind, tell)


def _table(rows: tuple[SensitivityRow, ...]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("layer", no_wrap=True)
    for column in ("level", "sparsity", "Top-1", "loss"):
        table.add_column(column, justify="right", no_wrap=True)
    before = ""
    for row in rows:
        table.add_row(
            row.parameter if row.parameter != before else "",
            f"{row.level:g}",
            f"{row.sparsity:.3f}",
            wording.value("top1", row.top1),
            f"{row.loss:.4f}",
        )
        before = row.parameter
    return table


def _document(
    baseline: Baseline, dense: tuple[float, float, float], analysis: SensitivityAnalysis
) -> dict[str, Any]:
    return {
        "baseline_id": baseline.id,
        "model": baseline.model,
        "dataset": baseline.dataset,
        "split": "validation",
        "dense": dict(zip(("top1", "top5", "loss"), dense, strict=True)),
        **cast(dict[str, Any], json.loads(analysis.to_json())),
    }
