"""`stillhouse experiment`: list, show, watch, cancel, resume, results, analysis, report.

Depends on: typer, rich; the client. The stages themselves are commands of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stillhouse import Client, Experiment
from stillhouse_service.cli.options import DEFAULT_SERVER, AsJson, Server, print_json
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.experiment_watch import summary, watch_experiment

app = typer.Typer(no_args_is_help=True, help="Stages of the research plan, stored.")
ExperimentId = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="The experiment's id, exp_...")
]


@app.command("list")
def list_experiments(server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """List all experiments, newest first."""
    with Client(server) as client:
        found = client.experiments.list()
    if as_json:
        print_json([one.json for one in found])
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("experiment", "stage", "name", "state", "trials"):
        table.add_column(column)
    for one in found:
        table.add_row(one.id, one.stage, one.name, one.state, f"{one.n_ended} of {one.n_trials}")
    Console().print(table)


@app.command()
def show(
    experiment_id: ExperimentId, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Show where an experiment stands, and what was decided when it was laid out."""
    with Client(server) as client:
        found = client.experiments.get(experiment_id)
    _tell(found, as_json)


@app.command()
def watch(
    experiment_id: ExperimentId, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Watch an experiment until it is over; `--json` prints it at every change, one line each."""
    with Client(server) as client:
        leave(follow(client, experiment_id, as_json))


@app.command()
def cancel(
    experiment_id: ExperimentId, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """End an experiment early; finished trials stay."""
    with Client(server) as client:
        _tell(client.experiments.cancel(experiment_id), as_json)


@app.command()
def resume(
    experiment_id: ExperimentId, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Go on with what of an experiment is paused."""
    with Client(server) as client:
        _tell(client.experiments.resume(experiment_id), as_json)


@app.command()
def results(
    experiment_id: ExperimentId,
    table: Annotated[str, typer.Option(help="`trials`, or `layers` of each of them.")] = "trials",
    format: Annotated[str, typer.Option(help="`csv`, `json` or `parquet`.")] = "csv",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; else it is printed.")
    ] = None,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Give the trials, or their layers, as a table."""
    with Client(server) as client:
        content = client.experiments.results(experiment_id, table, format)
    if output is not None:
        output.write_bytes(content)
        typer.echo(str(output))
    elif format == "parquet":
        raise SpecRejected([Problem("--output", "missing: Parquet is no text to print")])
    else:
        typer.echo(content.decode(), nl=False)


@app.command()
def analysis(
    experiment_id: ExperimentId, server: Server = DEFAULT_SERVER, as_json: AsJson = False
) -> None:
    """Say what the experiment found: which algorithms, which layers, and how sure that is."""
    with Client(server) as client:
        found = client.experiments.analysis(experiment_id)
    if as_json:
        print_json(found)
        return
    console = Console(highlight=False, markup=False)
    for one in found["analyses"]:
        console.print(f"{one['model']} on {one['dataset']}, {one['device']}", style="bold")
        for sentence in one["analysis"]["conclusions"]:
            console.print(f"  {sentence}", soft_wrap=True)


@app.command()
def report(
    experiment_id: ExperimentId,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "experiment.html"
    ),
    server: Server = DEFAULT_SERVER,
) -> None:
    """Write the report: one self-contained HTML page."""
    with Client(server) as client:
        page = client.experiments.report(experiment_id)
    output.write_text(page, encoding="utf-8")
    typer.echo(str(output))


def follow(client: Client, experiment_id: str, as_json: bool) -> Experiment:
    """Watch an experiment as JSON or as lines."""
    if as_json:
        return client.experiments.wait(experiment_id, on_change=lambda one: print_json(one.json))
    return watch_experiment(client, experiment_id, Console(highlight=False, markup=False))


def leave(experiment: Experiment) -> None:
    """End the command with 1 when the experiment did not come to its end.

    A verification that lost a network on the way has not, either.
    """
    n_lost = sum(experiment.counts.get(state, 0) for state in ("failed", "unsupported"))
    if experiment.state != "finished" or (experiment.stage == "verify" and n_lost):
        raise typer.Exit(1)


def _tell(experiment: Experiment, as_json: bool) -> None:
    if as_json:
        print_json(experiment.json)
        return
    typer.echo(summary(experiment))
    for note in experiment.notes:
        typer.echo(f"  {note}")
    for study in experiment.studies:
        text = f"  {study['id']}  {study['model']} on {study['device']}: {study['state']}"
        typer.echo(text + (f", {study['reason']}" if study["reason"] else ""))
