"""`stillhouse trial`: list, enqueue, show, log.

Depends on: typer, rich, pyyaml; the client.
"""

from __future__ import annotations

from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from stillhouse import Client, TrialDetail
from stillhouse_service.cli.options import (
    DEFAULT_SERVER,
    AsJson,
    Server,
    print_json,
    read_settings,
)
from stillhouse_service.cli.survival_table import print_survival
from stillhouse_service.report import wording
from stillhouse_service.report.proposals import why_proposed
from stillhouse_service.watch import outcome

app = typer.Typer(no_args_is_help=True, help="Single evaluations of a study.")


@app.command("list")
def list_trials(
    study_id: Annotated[str, typer.Argument(metavar="STUDY", help="The study's id, std_...")],
    state: Annotated[
        list[str] | None, typer.Option(help="In this state; again for another.")
    ] = None,
    feasible: Annotated[
        bool | None, typer.Option(help="Those that keep the limits, or break one.")
    ] = None,
    order: Annotated[
        str, typer.Option(help="number, or a metric, least first; - in front turns it round.")
    ] = "number",
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """List a study's trials, by number."""
    with Client(server) as client:
        trials = client.studies.trials(study_id, state or (), feasible, order)
    if as_json:
        print_json([trial.json for trial in trials])
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("number", "trial", "state", "p50", "ratio", "Top-1", "limit"):
        table.add_column(column)
    for trial in trials:
        metrics = trial.metrics or {}
        kept = {True: "kept", False: "broken", None: ""}[trial.is_feasible]
        table.add_row(
            str(trial.number),
            trial.id,
            trial.state,
            wording.value("latency_p50_ms", metrics.get("latency_p50_ms")),
            wording.value("latency_ratio", metrics.get("latency_ratio")),
            wording.value("top1", metrics.get("top1")),
            kept,
        )
    Console().print(table)


@app.command()
def enqueue(
    study_id: Annotated[str, typer.Argument(metavar="STUDY", help="The study's id, std_...")],
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter's value; one --set each."),
    ],
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Run a config of your own as a study's next trial; the optimizer learns from it."""
    with Client(server) as client:
        trial = client.studies.enqueue(study_id, read_settings(settings))
    if as_json:
        print_json(trial.json)
    else:
        typer.echo(f"{trial.id}: trial {trial.number} of {study_id}")


@app.command()
def show(
    trial_id: Annotated[str, typer.Argument(metavar="TRIAL", help="The trial's id, trl_...")],
    schedule: Annotated[
        bool, typer.Option("--schedule", help="Print its plain Distiller schedule alone, as YAML.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Show a trial: config, metrics, failure, what was cut out, layers."""
    with Client(server) as client:
        trial = client.trials.get(trial_id)
    if schedule:
        if trial.schedule is None:
            typer.echo(f"{trial_id} has no schedule yet", err=True)
            raise typer.Exit(1)
        typer.echo(schedule_yaml(trial), nl=False)
    elif as_json:
        print_json(trial.json)
    else:
        _print(trial, Console(highlight=False, markup=False))


@app.command()
def log(
    trial_id: Annotated[str, typer.Argument(metavar="TRIAL", help="The trial's id, trl_...")],
    server: Server = DEFAULT_SERVER,
) -> None:
    """Print what a trial's compression said: all of it once it is compressed, else the end."""
    with Client(server) as client:
        trial = client.trials.get(trial_id)
        if "log" in trial.artifacts:
            typer.echo(client.artifacts.download(trial.artifacts["log"]).decode(), nl=False)
            return
    for line in trial.json.get("log", ()):
        typer.echo(line)


def schedule_yaml(trial: TrialDetail) -> str:
    """Write the plain schedule that a trial ran."""
    text: str = yaml.safe_dump(dict(trial.schedule or {}), sort_keys=False, allow_unicode=True)
    return text


def _print(trial: TrialDetail, console: Console) -> None:
    console.print(f"{trial.id} of {trial.study_id}, seed {trial.seed}, {trial.origin}")
    of_sources = trial.json.get("transfer")
    console.print(why_proposed(trial.origin, trial.prediction, of_sources), soft_wrap=True)
    console.print(outcome(trial))
    if trial.json.get("twin_of"):
        console.print(f"the trial that was run: {trial.json['twin_of']}")
    if trial.json.get("latency_from") is not None:
        console.print(f"its latency is that of trial {trial.json['latency_from']}")
    if trial.json.get("rung") is not None:
        n_images = trial.json.get("n_images")
        judged = "" if n_images is None else f", judged on {n_images} validation images"
        console.print(f"rung {trial.json['rung']}{judged}")
    if (trial.json.get("probe") or {}).get("contradiction"):
        console.print(trial.json["probe"]["contradiction"], soft_wrap=True)
    for title, rows in (
        ("config", {k: wording.plain(v) for k, v in trial.config.items()}),
        ("metrics", {k: wording.value(k, v) for k, v in (trial.metrics or {}).items()}),
        ("artifacts", dict(trial.artifacts)),
    ):
        if rows:
            console.print(f"\n{title}", style="bold")
            for name, text in rows.items():
                console.print(f"  {name:<40} {text}", soft_wrap=True)
    if trial.json.get("log"):
        console.print("\nlog", style="bold")
        for line in trial.json["log"]:
            console.print(f"  {line}", soft_wrap=True)
    for row in trial.json.get("thinning", ()):
        console.print("\nthinning", style="bold")
        for line in str(row.get("text", "")).splitlines():
            console.print(f"  {line}", soft_wrap=True)
    if trial.layers:
        table = Table("layer", "type", "ms", "baseline ms", box=None, padding=(0, 2))
        for row in trial.layers:
            times = (row.get("candidate_ms"), row.get("baseline_ms"))
            table.add_row(
                str(row["layer"]),
                str(row.get("type", "")),
                *(wording.NOTHING if ms is None else f"{ms:.4f}" for ms in times),
            )
        console.print("\nlayers", style="bold")
        console.print(table)
    if trial.survival:
        console.print("\nsurvival", style="bold")
        print_survival(trial.survival, console)
