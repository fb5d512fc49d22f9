"""`stillhouse train`: a baseline, with its progress.

Depends on: typer, rich, pyyaml; the client.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from stillhouse import Client
from stillhouse_service.cli.options import DEFAULT_SERVER, AsJson, Server, print_json
from stillhouse_service.errors import Problem, SpecRejected
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
    recipe = _recipe(settings or [])
    console = Console(stderr=as_json, highlight=False, markup=False)
    with Client(server) as client:
        baseline = client.baselines.create(model, dataset, recipe, seed)
        baseline = client.baselines.wait(baseline.id, on_change=TrainingLine(console).tell)
    if as_json:
        print_json(baseline.json)
    if baseline.state != "complete":
        raise typer.Exit(1)


def _recipe(settings: list[str]) -> dict[str, Any]:
    recipe: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise SpecRejected([Problem("--set", f"wanted NAME=VALUE, got {setting!r}")])
        recipe[name] = yaml.safe_load(text)
    return recipe
