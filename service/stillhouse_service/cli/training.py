"""`stillhouse train`: a baseline, with its progress.

Depends on: typer, rich, pyyaml; the client.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from stillhouse import Baseline, Client
from stillhouse_service.cli.options import DEFAULT_SERVER, AsJson, Server, print_json
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.report import wording


class TrainingLine:
    """Prints a line for each epoch of a baseline's training."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ""

    def tell(self, baseline: Baseline) -> None:
        """Print how far it is, if that has changed."""
        said = training_line(baseline)
        if said != self._said:
            self._said = said
            self._console.print(said, highlight=False)


def training_line(baseline: Baseline) -> str:
    """Tell how far a baseline's training is, in one line."""
    progress = baseline.progress
    text = f"baseline {baseline.id}: {baseline.state}"
    if baseline.state == "training" and progress.get("epoch") is not None:
        text += f", epoch {progress['epoch']}"
        if progress.get("epochs"):
            text += f" of {progress['epochs']}"
    if baseline.state == "complete":
        for split in ("validation", "test"):
            top1 = baseline.metrics.get(f"{split}_top1")
            text += f", {split} Top-1 {wording.value('top1', top1)}"
    if baseline.error:
        text += f": {baseline.error}"
    return text


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
