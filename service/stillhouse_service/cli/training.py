"""`stillhouse train`: a baseline, with its progress.

Depends on: typer, rich, pyyaml; the client.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from stillhouse import Client
from stillhouse_service.baseline_choice import find_baseline
from stillhouse_service.cli.options import DEFAULT_SERVER, AsJson, Server, print_json, read_settings
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.recipes import RECIPES
from stillhouse_service.training_bar import TrainingBar

_FILES = {
    "weights": "weights.safetensors",
    "onnx": "model.onnx",
    "card": "card.json",
    "card_text": "card.md",
}


def train(
    model: Annotated[str, typer.Argument(help="Name of a network, such as resnet20_cifar.")],
    dataset: Annotated[str, typer.Option(help="Name of a data set.")] = "digits",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Part of the recipe: --set epochs=8."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    recipe_name: Annotated[
        str, typer.Option("--recipe", help=f"Named recipe: {', '.join(RECIPES)}.")
    ] = "standard",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for weights, ONNX graph and model card."),
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Train a baseline on the server and wait for it.

    The server goes on with it after Ctrl-C; the same command again waits for it, or takes it
    when it is done. A training that was killed goes on after its last whole epoch.
    """
    if recipe_name not in RECIPES:
        message = f"no recipe {recipe_name!r}; there are: {', '.join(RECIPES)}"
        raise SpecRejected([Problem("--recipe", message)])
    recipe = {**RECIPES[recipe_name], **read_settings(settings or [])}
    console = Console(stderr=as_json, highlight=False, markup=False)
    with Client(server) as client:
        baseline = find_baseline(client, model, dataset, recipe, seed) or client.baselines.create(
            model, dataset, recipe, seed
        )
        with TrainingBar(console) as bar:
            baseline = client.baselines.wait(baseline.id, on_change=bar.tell)
        if out is not None and baseline.state == "complete":
            out.mkdir(parents=True, exist_ok=True)
            for name, filename in _FILES.items():
                if name in baseline.artifacts:
                    client.artifacts.download(baseline.artifacts[name], out / filename)
                    console.print(f"  {out / filename}", soft_wrap=True)
    if as_json:
        print_json(baseline.json)
    if baseline.state != "complete":
        raise typer.Exit(1)
