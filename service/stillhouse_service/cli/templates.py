"""`stillhouse template`: a template written from a network itself.

Depends on: typer; stillhouse_compression, imported when asked for: it brings torch along.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from stillhouse_service.errors import Problem, SpecRejected


def template(
    model: Annotated[str, typer.Argument(help="Name of a network, such as resnet20_cifar.")],
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
) -> None:
    """Write a template for a network: prunable layers, coupled ones tied, sensible ranges."""
    from stillhouse_compression.errors import CompressionError
    from stillhouse_compression.template.writer import write_template, write_training

    names: Any = [name.strip() for name in methods.split(",") if name.strip()]
    try:
        text = write_template(model, None, names, cast(Any, per), group_size)
    except CompressionError as error:
        raise SpecRejected([Problem("template", str(error))]) from error
    if training:
        text = write_training()
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        typer.echo(str(output))
