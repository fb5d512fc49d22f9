"""`stillhouse study ask`, `stillhouse trial tell`: the optimizer alone, for trials run elsewhere.

Depends on: typer; the client.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from stillhouse import AskedTrial, Client
from stillhouse_service.cli.options import (
    DEFAULT_SERVER,
    AsJson,
    Server,
    print_json,
    read_settings,
)
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.report import wording
from stillhouse_service.watch import outcome


def ask(
    study_id: Annotated[str, typer.Argument(metavar="STUDY", help="A study of runner `outside`.")],
    n: Annotated[int, typer.Option("-n", help="How many configs.")] = 1,
    lease: Annotated[float, typer.Option(help="Seconds to tell what came of them.")] = 3600.0,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Get the next configs of a study whose trials you run; nothing when it has no more."""
    with Client(server) as client:
        asked = client.studies.ask(study_id, n, lease)
    if as_json:
        print_json([one.json for one in asked])
        return
    for one in asked:
        typer.echo(f"{one.id} --token {one.token}")
        for name, value in one.config.items():
            typer.echo(f"  {name} = {wording.plain(value)}")
    if not asked:
        typer.echo(f"{study_id} has no more trials to give out", err=True)


def import_trials(
    study_id: Annotated[str, typer.Argument(metavar="STUDY", help="A study that is not over.")],
    file: Annotated[Path, typer.Argument(help="A .csv table, or .json: a list of trials.")],
    server: Server = DEFAULT_SERVER,
) -> None:
    """Bring trials that were run elsewhere into a study; all of them or none.

    A table has columns named after parameters and metrics. JSON is a list of
    `{"config": {...}, "metrics": {...}}`.
    """
    text = file.read_text(encoding="utf-8")
    with Client(server) as client:
        if file.suffix == ".json":
            n = client.studies.import_trials(study_id, _trials(text, file))
        else:
            n = client.studies.import_trials(study_id, csv=text)
    typer.echo(f"{n} trials brought into {study_id}")


def _trials(text: str, file: Path) -> list[dict[str, Any]]:
    try:
        trials = json.loads(text)
    except ValueError as error:
        raise SpecRejected([Problem("file", f"{file} is no JSON: {error}")]) from error
    if not isinstance(trials, list) or not all(isinstance(one, dict) for one in trials):
        raise SpecRejected([Problem("file", f"{file} must hold a list of trials")])
    return trials


def tell(
    trial_id: Annotated[str, typer.Argument(metavar="TRIAL", help="The trial's id, trl_...")],
    token: Annotated[str, typer.Option("--token", help="What `study ask` gave with it.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="METRIC=VALUE", help="A measured value; one --set each."),
    ] = None,
    failed: Annotated[
        str | None, typer.Option("--failed", metavar="REASON", help="It has no result, and why.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Tell what came of a trial that `stillhouse study ask` gave you."""
    blank = {"id": trial_id}
    asked = AskedTrial(
        json=blank, trial=blank, token=token, expires_at="", schedule=None, training=None
    )
    with Client(server) as client:
        if failed is not None:
            trial = client.trials.tell_failure(asked, failed)
        else:
            trial = client.trials.tell(asked, read_settings(settings or []))
    if as_json:
        print_json(trial.json)
    else:
        typer.echo(outcome(trial))
