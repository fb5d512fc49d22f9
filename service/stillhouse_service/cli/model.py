"""`stillhouse model`: list and show.

Depends on: typer, rich; the client.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stillhouse import Client
from stillhouse_service.cli.options import DEFAULT_SERVER, AsJson, Server, print_json

app = typer.Typer(no_args_is_help=True, help="Networks that the server can build.")


@app.command("list")
def list_models(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List the networks."""
    with Client(server) as client:
        models = client.models.list()
    if as_json:
        print_json(models)
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("name", "input", "description"):
        table.add_column(column)
    for one in models:
        table.add_row(one["name"], _sizes(one["input_shape"]), one["description"])
    Console().print(table)


@app.command("show")
def show_model(
    name: Annotated[str, typer.Argument(help="Name of a network, such as resnet20_cifar.")],
    classes: Annotated[
        int | None, typer.Option(help="Outputs; else the network's own number of classes.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show a network's depth, parameters, multiply-accumulates and layers."""
    with Client(server) as client:
        model = client.models.get(name, **({} if classes is None else {"n_classes": classes}))
    if as_json:
        print_json(model)
        return
    console = Console(highlight=False, markup=False)
    console.print(
        f"{model['name']}: {model['description']}; images of {_sizes(model['input_shape'])}, "
        f"{model['n_classes']} classes",
        soft_wrap=True,
    )
    console.print(
        f"depth {model['depth']}, {model['params']:,} parameters, {model['macs']:,} MACs an image"
    )
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("layer", "type", "weight"):
        table.add_column(column)
    for column in ("parameters", "MACs"):
        table.add_column(column, justify="right")
    for row in model["layers"]:
        table.add_row(
            row["layer"],
            row["type"],
            _sizes(row["shape"]),
            f"{row['params']:,}",
            f"{row['macs']:,}",
        )
    console.print(table)


def _sizes(shape: list[int]) -> str:
    return "x".join(str(size) for size in shape)
