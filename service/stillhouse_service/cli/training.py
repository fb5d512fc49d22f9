"""`stillhouse train`: a baseline, with its progress.

Depends on: typer, rich, pyyaml; the client.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from stillhouse import Client
from stillhouse_service.cli.options import DEFAULT_SERVER, AsJson, Server, print_json, read_settings
from stillhouse_service.training_line import TrainingLine


def train(
    model: Annotated[str, typer.Argument(help="Name of a network, such as resnet20_cifar.")],
    dataset: Annotated[str, typer.Option(help="Name of a data set.")] = "digits",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Part of the recipe: --set epochs=8."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Train a baseline on the server and wait for it."""
    recipe = read_settings(settings or [])
    console = Console(stderr=as_json, highlight=False, markup=False)
    with Client(server) as client:
        baseline = client.baselines.create(model, dataset, recipe, seed)
        baseline = client.baselines.wait(baseline.id, on_change=TrainingLine(console).tell)
    if as_json:
        print_json(baseline.json)
    if baseline.state != "complete":
        raise typer.Exit(1)
