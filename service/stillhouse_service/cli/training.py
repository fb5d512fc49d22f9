"""`stillhouse train`: a baseline, with its progress.

Depends on: typer, rich, pyyaml; the client.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from stillhouse import Baseline, Client
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

    The server goes on with it after Ctrl-C; the same command again waits for it again. A training
    that was killed goes on after its last whole epoch.
    """
    if recipe_name not in RECIPES:
        message = f"no recipe {recipe_name!r}; there are: {', '.join(RECIPES)}"
        raise SpecRejected([Problem("--recipe", message)])
    recipe = {**RECIPES[recipe_name], **read_settings(settings or [])}
    console = Console(stderr=as_json, highlight=False, markup=False)
    with Client(server) as client:
        baseline = _same(client, model, dataset, recipe, seed) or client.baselines.create(
            model, dataset, recipe, seed
        )
        with TrainingBar(console) as bar:
            baseline = client.baselines.wait(baseline.id, on_change=bar.tell)
        if out is not None and baseline.state == "complete":
            out.mkdir(parents=True, exist_ok=True)
            for name, filename in _FILES.items():
                if name in baseline.artifacts:
                    client.artifacts.read(baseline.artifacts[name], out / filename)
                    console.print(f"  {out / filename}", soft_wrap=True)
    if as_json:
        print_json(baseline.json)
    if baseline.state != "complete":
        raise typer.Exit(1)


def _same(
    client: Client, model: str, dataset: str, recipe: Mapping[str, Any], seed: int
) -> Baseline | None:
    """Find a training of the same kind that is under way."""
    for one in client.baselines.list():
        if one.is_over or (one.model, one.dataset, one.seed) != (model, dataset, seed):
            continue
        if dict(one.recipe) == dict(recipe):
            return one
    return None
