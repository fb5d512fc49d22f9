"""Importance as a Parquet file, with the columns of its CSV.

Depends on: pyarrow, on use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_service.parquet import parquet_pieces
from stillhouse_service.report import wording
from stillhouse_service.report.importance_csv import COLUMNS, importance_rows

_TEXTS = frozenset(
    {
        "metric",
        "verdict",
        "what",
        "parameter",
        "direction",
        "recommendation",
        "recommended_low",
        "recommended_high",
    }
)
_COUNTS = frozenset({"n_trials", "rank"})


def importance_parquet(importance: Mapping[str, Any]) -> bytes:
    """Write an Importance of docs/reports.md as Parquet.

    Recommended values are texts: a choice's may be.

    Raises:
        ExtraMissing: pyarrow is not installed.
    """
    kinds = {
        name: "string" if name in _TEXTS else "int64" if name in _COUNTS else "double"
        for name in COLUMNS
    }
    rows = [
        row
        | {
            name: wording.plain(row[name])
            for name in ("recommended_low", "recommended_high")
            if name in row
        }
        for row in importance_rows(importance)
    ]
    return b"".join(parquet_pieces(kinds, [rows]))
