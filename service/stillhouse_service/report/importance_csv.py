"""Importance as CSV: one line a metric and parameter.

Depends on: the standard library.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

COLUMNS = (
    "metric",
    "verdict",
    "r2_oob",
    "n_trials",
    "rank",
    "parameter",
    "importance",
    "importance_low",
    "importance_high",
    "direction",
    "recommendation",
)
_OF_PARAMETER = (
    "importance",
    "importance_low",
    "importance_high",
    "direction",
    "recommendation",
)


def importance_csv(importance: Mapping[str, Any]) -> str:
    """Write an Importance of docs/api.md as CSV.

    A metric whose verdict is `not_enough` has one line without rank and parameter, so that a
    reader of the file meets the verdict and no ranking that means nothing.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for metric, of_metric in importance["metrics"].items():
        shared = {
            "metric": metric,
            "verdict": of_metric["verdict"],
            "r2_oob": of_metric.get("r2_oob"),
            "n_trials": importance["n_trials"],
        }
        if of_metric["verdict"] == "not_enough":
            writer.writerow(shared)
            continue
        for rank, parameter in enumerate(ranked(of_metric), start=1):
            writer.writerow(
                shared
                | {
                    "rank": rank,
                    "parameter": parameter["name"],
                    **{name: parameter.get(name) for name in _OF_PARAMETER},
                }
            )
    return out.getvalue()


def ranked(of_metric: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give a metric's parameters, most important first; empty if the verdict allows no ranking."""
    if of_metric["verdict"] == "not_enough":
        return []
    return sorted(of_metric["parameters"], key=lambda p: -p["importance"])
