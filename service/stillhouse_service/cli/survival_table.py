"""The table that follows a network from torch to the device, as the terminal shows it.

Depends on: rich.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from stillhouse_service import survival
from stillhouse_service.report import wording

SAME = "="
_LEAST_WIDTH = 110  # a table cut off would prove nothing


def print_survival(stages: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print one row a layer, one column a stage; then how well each stage's answers agree."""
    wide = Console(
        file=console.file, width=max(console.width, _LEAST_WIDTH), highlight=False, markup=False
    )
    readable = [stage for stage in stages if stage["layers"]]
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("layer", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    for column in ("non-zero", "sparsity", "filters", *(stage["name"] for stage in readable[1:])):
        table.add_column(column, justify="right", no_wrap=True)
    for cells in _cells(readable):
        table.add_row(*cells)
    wide.print(table)
    answers = Table(box=None, padding=(0, 1), header_style="dim")
    for column in ("stage", "made by", "max abs", "max rel", "Top-1", "blob"):
        answers.add_column(column, no_wrap=True)
    for stage in stages:
        agreed = stage.get("agreement")
        told = [wording.NOTHING] * 3
        if agreed is not None:
            told = [f"{agreed['max_abs']:.2e}", f"{agreed['max_rel']:.2e}"]
            told.append(f"{agreed['top1_agreement']:.1%}")
        size = stage.get("blob_bytes")
        blob = "" if size is None else f"{size} bytes"
        answers.add_row(stage["name"], stage["made_by"], *told, blob)
    wide.print(answers)


def _cells(stages: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Give a layer's cells: what torch has, then `=` or the number of what is not zero."""
    tables = [{row["layer"]: row for row in stage["layers"]} for stage in stages]
    for name, shape, _ in survival.rows(stages):
        first = next(table[name] for table in tables if name in table)
        cells = [name, "x".join(str(size) for size in shape), str(first["n_nonzero"])]
        cells += [f"{first['sparsity']:.1%}", f"{first['filter_sparsity']:.1%}"]
        for table in tables[1:]:
            row = table.get(name)
            is_same = row is not None and row["n_nonzero"] == first["n_nonzero"]
            cells.append("missing" if row is None else SAME if is_same else str(row["n_nonzero"]))
        yield cells
