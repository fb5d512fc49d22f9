"""`stillhouse study`: create, list, show, watch, cancel, pause, resume.

Depends on: typer, rich; the client.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stillhouse import Client, Study
from stillhouse_service.baseline_choice import choose_baseline
from stillhouse_service.cli.options import DEFAULT_SERVER, AsJson, Server, print_json
from stillhouse_service.report import wording
from stillhouse_service.report.facts import Facts
from stillhouse_service.report.sentences import saved_note
from stillhouse_service.study_file import study_spec_from_file
from stillhouse_service.training_line import TrainingLine
from stillhouse_service.watch import best, watch_study

app = typer.Typer(no_args_is_help=True, help="Searches for the best schedule.")
StudyId = Annotated[str, typer.Argument(metavar="STUDY", help="The study's id, std_...")]


@app.command()
def create(
    file: Annotated[Path, typer.Argument(help="study.yaml; its template is relative to it.")],
    name: Annotated[str | None, typer.Option(help="Instead of the file's name.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of the file's device.")] = None,
    trials: Annotated[int | None, typer.Option(help="Instead of the file's budget.")] = None,
    warm_start: Annotated[
        list[str] | None,
        typer.Option(metavar="STUDY", help="Learn from an earlier study; may be given again."),
    ] = None,
    transfer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STUDY",
            help="Learn from an ended study whose space overlaps, as far as it helps; may be given "
            "again.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the file's seed.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and watch it.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Start a study; its baseline is trained first where the server has none like it."""
    spec = study_spec_from_file(file)
    given = {"name": name, "device": device, "seed": seed, "warm_start": warm_start}
    given |= {"transfer": transfer}
    spec |= {key: value for key, value in given.items() if value is not None}
    if trials is not None:
        spec["budget"] = {**spec.get("budget", {}), "trials": trials}
    console = Console(stderr=as_json, highlight=False, markup=False)
    with Client(server) as client:
        if not isinstance(spec.get("baseline", ""), str):
            line = TrainingLine(console)
            spec["baseline"] = choose_baseline(client, spec["baseline"], line.tell).id
        study = client.studies.create(spec)
        if as_json:
            print_json(study.json)
        else:
            console.print(f"study {study.id}")
        if watch:
            _leave(_watch(client, study.id, as_json))


@app.command("list")
def list_studies(
    state: Annotated[
        list[str] | None, typer.Option(help="In this state; again for another.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Part of the name.")] = None,
    device: Annotated[str | None, typer.Option(help="On this device.")] = None,
    order: Annotated[str, typer.Option(help="-created, created, name or -name.")] = "-created",
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """List studies, newest first."""
    with Client(server) as client:
        studies = client.studies.list(state or (), name, device, order)
    if as_json:
        print_json([study.json for study in studies])
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("study", "name", "state", "trials", "best ratio", "Top-1"):
        table.add_column(column)
    for study in studies:
        best_one = study.incumbent or {}
        n_done = study.counts.get("complete", 0)
        table.add_row(
            study.id,
            study.name,
            study.state,
            f"{n_done} of {study.spec['budget']['trials']}",
            wording.value("latency_ratio", best_one.get("latency_ratio")),
            wording.value("top1", best_one.get("top1")),
        )
    Console().print(table)


@app.command()
def show(study_id: StudyId, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Show where a study stands."""
    with Client(server) as client:
        study = client.studies.get(study_id)
    if as_json:
        print_json(study.json)
        return
    console = Console(highlight=False, markup=False)
    console.print(f"{study.id}  {study.name}: {study.state}")
    if study.reason:
        console.print(study.reason)
    counts = ", ".join(f"{n} {state}" for state, n in study.counts.items() if n)
    console.print(f"{study.spec['budget']['trials']} trials wanted; {counts or 'none yet'}")
    console.print(best(study))
    if told := saved_note(Facts(study.json, [], {})):
        console.print(told, soft_wrap=True)
    if study.final is not None and study.final.get("top1") is not None:
        ratio = wording.interval(study.final, "latency_ratio")
        top1 = wording.value("top1", study.final["top1"])
        console.print(f"on the test split: ratio {ratio}, Top-1 {top1}")


@app.command()
def watch(study_id: StudyId, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Watch a study until it is over; `--json` prints it at every change, one line each."""
    with Client(server) as client:
        _leave(_watch(client, study_id, as_json))


@app.command()
def clone(
    study_id: StudyId,
    name: Annotated[str | None, typer.Option(help="Instead of its name.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of its device.")] = None,
    trials: Annotated[int | None, typer.Option(help="Instead of its budget.")] = None,
    warm: Annotated[bool, typer.Option("--warm", help="Learn from its trials.")] = False,
    seed: Annotated[int | None, typer.Option(help="Instead of its seed.")] = None,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Start a study like another; its trials are its own."""
    warm_start = [study_id] if warm else None
    changes = {"name": name, "device": device, "seed": seed, "warm_start": warm_start}
    given: dict[str, object] = {key: value for key, value in changes.items() if value is not None}
    if trials is not None:
        given["budget"] = {"trials": trials}
    with Client(server) as client:
        _told(client.studies.clone(study_id, given), as_json)


@app.command()
def priority(
    study_id: StudyId,
    value: Annotated[int, typer.Argument(help="Higher goes first; studies begin with 0.")],
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Let a study's work go before (or after) that of others."""
    with Client(server) as client:
        study = client.studies.set_priority(study_id, value)
    if as_json:
        print_json(study.json)
    else:
        typer.echo(f"{study.id} has priority {value}")


@app.command()
def cancel(study_id: StudyId, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """End a study early; finished trials stay."""
    with Client(server) as client:
        _told(client.studies.cancel(study_id), as_json)


@app.command()
def pause(study_id: StudyId, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Start no more trials; those on their way go on."""
    with Client(server) as client:
        _told(client.studies.pause(study_id), as_json)


@app.command()
def resume(study_id: StudyId, server: Server = DEFAULT_SERVER, as_json: AsJson = False) -> None:
    """Go on with a paused study."""
    with Client(server) as client:
        _told(client.studies.resume(study_id), as_json)


def _told(study: Study, as_json: bool) -> None:
    if as_json:
        print_json(study.json)
    else:
        typer.echo(f"{study.id} is {study.state}")


def _watch(client: Client, study_id: str, as_json: bool) -> Study:
    if as_json:
        return client.studies.wait(study_id, on_change=lambda study: print_json(study.json))
    console = Console(highlight=False, markup=False)
    study = watch_study(client, study_id, console)
    console.print(f"{study.id} is {study.state}" + (f": {study.reason}" if study.reason else ""))
    console.print(best(study))
    return study


def _leave(study: Study) -> None:
    """Say by the exit status whether the study came to its end."""
    if study.state != "finished":
        raise typer.Exit(1)
