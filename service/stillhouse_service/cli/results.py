"""`stillhouse report` and `stillhouse importance`: what a study found.

Depends on: typer, rich; the client.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stillhouse import Client
from stillhouse_service.cli.options import DEFAULT_SERVER, AsJson, Server, print_json
from stillhouse_service.report import importance_csv, wording
from stillhouse_service.report.importance_csv import ranked
from stillhouse_service.report.sentences import importance_note

StudyId = Annotated[str, typer.Argument(metavar="STUDY", help="The study's id, std_...")]


def report(
    study_id: StudyId,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path(
        "report.html"
    ),
    server: Server = DEFAULT_SERVER,
) -> None:
    """Write the report: one self-contained HTML page, or Markdown or JSON by the file's ending."""
    form = {".md": "md", ".json": "json"}.get(output.suffix, "html")
    with Client(server) as client:
        page = client.studies.report(study_id, form)
    output.write_text(page, encoding="utf-8")
    typer.echo(str(output))


def importance(
    study_id: StudyId,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """Say which parameters mattered, which way to turn them, and how sure that is."""
    with Client(server) as client:
        found = client.studies.importance(study_id)
    if as_json:
        print_json(found.json)
    elif as_csv:
        typer.echo(importance_csv(found.json), nl=False)
    else:
        console = Console(highlight=False, markup=False)
        for metric, of_metric in found.metrics.items():
            verdict = wording.verdict(of_metric["verdict"])
            console.print(f"\n{wording.label(metric)}: {verdict.lower()}", style="bold")
            console.print(importance_note(of_metric))
            rows = ranked(of_metric)
            if rows:
                table = Table("parameter", "share", "as it rises", "what to do", box=None)
                for entry in rows:
                    table.add_row(
                        entry["name"],
                        wording.share(entry),
                        wording.direction(entry),
                        str(entry.get("recommendation") or ""),
                    )
                console.print(table)
