"""Importance as a table: one line a metric and parameter, pair or group.

Depends on: the standard library.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = (
    "metric",
    "verdict",
    "r2_oob",
    "n_trials",
    "what",
    "rank",
    "parameter",
    "importance",
    "importance_low",
    "importance_high",
    "direction",
    "strength",
    "recommended_low",
    "recommended_high",
    "recommendation",
    "rank_correlation",
    "active_share",
    "active_importance",
)
_OF_PARAMETER = (
    "importance",
    "importance_low",
    "importance_high",
    "direction",
    "strength",
    "recommendation",
    "rank_correlation",
    "active_share",
    "active_importance",
)


def importance_csv(importance: Mapping[str, Any]) -> str:
    """Write an Importance of docs/reports.md as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(importance_rows(importance))
    return out.getvalue()


def importance_rows(importance: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give an Importance line by line, members of `COLUMNS`.

    A metric whose verdict is `not_enough` has one line without rank and parameter, so that a
    reader meets the verdict and no ranking that means nothing.
    """
    for metric, of_metric in importance["metrics"].items():
        shared = {
            "metric": metric,
            "verdict": of_metric["verdict"],
            "r2_oob": of_metric.get("r2_oob"),
            "n_trials": of_metric.get("n_trials", importance["n_trials"]),
        }
        if of_metric["verdict"] == "not_enough":
            yield shared
            continue
        for rank, parameter in enumerate(ranked(of_metric), start=1):
            yield shared | {
                "what": "parameter",
                "rank": rank,
                "parameter": parameter["name"],
                **dict(
                    zip(
                        ("recommended_low", "recommended_high"),
                        parameter.get("recommended") or (),
                        strict=False,
                    )
                ),
                **{name: parameter.get(name) for name in _OF_PARAMETER},
            }
        for rank, pair in enumerate(of_metric.get("pairs") or (), start=1):
            yield shared | {
                "what": "pair",
                "rank": rank,
                "parameter": " × ".join(pair["names"]),
                "importance": pair["importance"],
            }
        ranks: dict[str, int] = {}
        for group in of_metric.get("groups") or ():
            ranks[group["kind"]] = ranks.get(group["kind"], 0) + 1
            yield shared | {
                "what": group["kind"],
                "rank": ranks[group["kind"]],
                "parameter": group["name"],
                **{name: group[name] for name in _OF_PARAMETER[:3]},
            }


def ranked(of_metric: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give a metric's parameters, most important first; empty if the verdict allows no ranking."""
    if of_metric["verdict"] == "not_enough":
        return []
    return sorted(of_metric["parameters"], key=lambda p: -p["importance"])
