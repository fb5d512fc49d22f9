"""`stillhouse template`: a template written from a network itself.

Depends on: typer; the client; stillhouse_compression, imported when asked for: it brings torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from stillhouse import Client
from stillhouse_service.cli.options import DEFAULT_SERVER, Server
from stillhouse_service.errors import Problem, SpecRejected


def template(
    model: Annotated[
        str | None, typer.Argument(help="Name of a network, such as resnet20_cifar.")
    ] = None,
    methods: Annotated[
        str, typer.Option(help="Of filters, elements, rows; several with commas: a choice.")
    ] = "filters",
    per: Annotated[str, typer.Option(help="A sparsity per layer, stage or model.")] = "stage",
    group_size: Annotated[
        int, typer.Option(min=1, help="Prune filters in multiples of it; 8 suits the NCS2.")
    ] = 1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; else it is printed.")
    ] = None,
    training: Annotated[
        bool, typer.Option("--training", help="The study's training section that goes with it.")
    ] = False,
    from_sweep: Annotated[
        str | None,
        typer.Option("--from-sweep", metavar="SWEEP", help="From what a sweep, exp_..., found."),
    ] = None,
    study: Annotated[
        str | None, typer.Option(help="Of the sweep's studies; else its first.")
    ] = None,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Write a template for a network: prunable layers, coupled ones tied, sensible ranges.

    From a sweep: the layers that made it faster on the device, ranges around the good levels.
    """
    if (model is None) == (from_sweep is None):
        raise SpecRejected([Problem("template", "name a network, or a sweep by --from-sweep")])
    if from_sweep is not None:
        with Client(server) as client:
            found = client.experiments.template(from_sweep, study)
        _write(found["training" if training else "template"], output)
        return
    assert model is not None
    _write(_of_network(model, methods, per, group_size, training), output)


def _of_network(model: str, methods: str, per: str, group_size: int, training: bool) -> str:
    from stillhouse_compression.errors import CompressionError
    from stillhouse_compression.template.writer import write_template, write_training

    names: Any = [name.strip() for name in methods.split(",") if name.strip()]
    try:
        text = write_template(model, None, names, cast(Any, per), group_size)
    except CompressionError as error:
        raise SpecRejected([Problem("template", str(error))]) from error
    return write_training() if training else text


def _write(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        typer.echo(str(output))
