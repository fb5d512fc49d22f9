"""`stillhouse study transfer`: what a study learns from, and how much.

Depends on: typer, rich; the client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from stillhouse import Client
from stillhouse_service.cli.options import DEFAULT_SERVER, AsJson, Server, print_json
from stillhouse_service.report import wording


def transfer(
    study_id: Annotated[str, typer.Argument(metavar="STUDY", help="The study's id, std_...")],
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
) -> None:
    """List the earlier studies a study learns from, and how much each counts now."""
    with Client(server) as client:
        found = client.studies.transfer(study_id)
    if as_json:
        print_json(found)
        return
    metrics = list(dict.fromkeys(m for one in found["sources"] for m in one["weights"]))
    table = Table(box=None, padding=(0, 2), header_style="dim")
    each = [f"{wording.label(m)}{what}" for m in metrics for what in ("", ", ranks agree")]
    for column in ("source", "name", "trials within", "parameters", *each):
        table.add_column(column)
    for one in found["sources"]:
        n_here = len(one["shared"]) + len(one["only_here"])
        within = "–" if one["n_within"] is None else one["n_within"]
        table.add_row(
            one["study_id"],
            one["name"],
            f"{within} of {one['n_trials']}",
            f"{len(one['shared'])} of {n_here}",
            *(cell for metric in metrics for cell in _cells(one, metric)),
        )
    console = Console(highlight=False, markup=False)
    console.print(table)
    if not metrics:
        console.print("No model has proposed a trial yet: the first ones are the sources' best.")


def _cells(source: Mapping[str, Any], metric: str) -> Sequence[str]:
    """A source's share of a metric, and how its ranking of this study's trials agrees."""
    share, tau = (source[what].get(metric) for what in ("weights", "agreement"))
    return (
        wording.NOTHING if share is None else f"{100 * share:.0f} %",
        wording.NOTHING if tau is None else f"{tau:+.2f}",
    )
