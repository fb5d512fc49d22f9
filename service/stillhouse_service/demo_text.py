"""What the demo prints at its end: baseline against winner, importance, files.

Depends on: rich, report.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from stillhouse_service.report import Facts, sentences, tables, wording
from stillhouse_service.report.importance_csv import ranked

_N_TOP = 3


def print_result(
    console: Console, facts: Facts, importance: Mapping[str, Any], files: Mapping[str, Path]
) -> None:
    """Print what the study found."""
    console.print()
    if facts.winner is None:
        for sentence in sentences.outcome(facts):
            console.print(sentence)
    else:
        table = Table(box=None, padding=(0, 2), header_style="bold")
        table.add_column("")
        for name in ("baseline", f"trial {facts.winner['number']}", "change"):
            table.add_column(name, justify="right")
        for row in facts.comparison():
            cells = tables.comparison_cells(row)
            table.add_row(cells["name"], cells["baseline"], cells["best"], cells["change"])
        console.print(table)
        console.print()
        console.print(sentences.split_note(facts))
    for note in (sentences.threshold_note(facts), sentences.noise_note(facts)):
        if note:
            console.print(note)
    for metric, found in importance["metrics"].items():
        verdict = wording.verdict(found["verdict"]).lower()
        console.print()
        console.print(f"What mattered for {wording.label(metric)}: {verdict}", style="bold")
        console.print(sentences.importance_note(found))
        for rank, entry in enumerate(ranked(found)[:_N_TOP], start=1):
            what_to_do = entry.get("recommendation") or wording.direction(entry)
            console.print(f"  {rank}. {entry['name']}, {wording.share(entry)}: {what_to_do}")
    console.print()
    for path in files.values():
        console.print(f"  {path}", soft_wrap=True)
