"""`stillhouse study front`: what several objectives have come to.

Depends on: typer, rich; the client.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stillhouse import Client
from stillhouse_service.cli.options import DEFAULT_SERVER, AsJson, Server, print_json
from stillhouse_service.report import front_words, wording


def front(
    study_id: Annotated[str, typer.Argument(metavar="STUDY", help="The study's id, std_...")],
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """List the trials that no other beats in all objectives; `--json` has the others too."""
    with Client(server) as client:
        found = client.studies.front(study_id)
    if as_json:
        print_json(found.json)
        return
    console = Console(highlight=False, markup=False)
    console.print(front_words.sentence(found.json))
    if not found.points:
        return
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("trial", *map(wording.label, found.objectives), "limits", "id"):
        table.add_column(column)
    for point in found.points:
        table.add_row(
            str(point["number"]),
            *(wording.value(metric, point["values"][metric]) for metric in found.objectives),
            front_words.limits(point),
            point["trial_id"],
        )
    console.print(table)
