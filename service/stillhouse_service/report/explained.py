"""What importance says beyond a ranking, as rows and sentences: trials, groups, the best trial.

Depends on: stillhouse_optimizer, for which metrics are better when larger.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stillhouse_optimizer.spec import is_maximised
from stillhouse_service.report import wording
from stillhouse_service.report.facts import Facts
from stillhouse_service.report.figures import ACCENT, INFEASIBLE, Figure

Json = Mapping[str, Any]

_KINDS = {"part": "part", "algorithm": "algorithm", "stage": "stage", "layer": "layer"}
_N_LOCAL, _N_SPANS = 8, 6


def trials_note(of_metric: Json) -> str:
    """Say which trials a metric's analysis stands on, and why others are left out."""
    if "trials" not in of_metric:
        return ""
    used = _spans(of_metric["trials"]) or "none"
    said = f"Trials it stands on: {used}."
    left_out = [f"{_spans(one['trials'])} ({one['why']})" for one in of_metric["left_out"]]
    return f"{said} Left out: {'; '.join(left_out)}." if left_out else said


def group_tables(of_metric: Json) -> list[dict[str, Any]]:
    """For each kind of grouping its groups; kinds that tell nothing apart are left out."""
    tables = []
    for kind, label in _KINDS.items():
        groups = [g for g in of_metric.get("groups") or () if g["kind"] == kind]
        if len(groups) > 1:
            rows = [
                {
                    "name": group["name"],
                    "share": wording.share(group),
                    "parameters": ", ".join(group["parameters"]),
                }
                for group in groups
            ]
            tables.append({"kind": label, "rows": rows})
    return tables


def local_rows(metric: str, of_metric: Json) -> list[dict[str, str]]:
    """What each parameter still does around the best trial, most first."""
    return [
        {
            "name": turn["name"],
            "value": wording.plain(turn["value"]),
            "share": f"{100 * turn['importance']:.0f} %",
            "low": f"{wording.value(metric, turn['low'])} at {wording.plain(turn['at_low'])}",
            "high": f"{wording.value(metric, turn['high'])} at {wording.plain(turn['at_high'])}",
        }
        for turn in (of_metric.get("local") or ())[:_N_LOCAL]
    ]


def ablation_table(importance: Json | None) -> dict[str, Any] | None:
    """The way from the default to the best trial, with what is expected after each step."""
    way = (importance or {}).get("ablation")
    if not way:
        return None
    metrics = list(way["start"])
    rows = [{"change": "the default", "values": _values(metrics, way["start"])}]
    rows += [
        {"change": _change(step), "values": _values(metrics, step["metrics"])}
        for step in way["steps"]
    ]
    return {"labels": [wording.label(metric) for metric in metrics], "rows": rows}


def ablation_figure(facts: Facts, importance: Json | None) -> Figure | None:
    """How the objective is expected to move along that way."""
    way = (importance or {}).get("ablation")
    if not way:
        return None
    metric = facts.objective
    values = [way["start"][metric], *(step["metrics"][metric] for step in way["steps"])]
    names = [_change(step) for step in way["steps"]]
    moves = [after - before for before, after in itertools.pairwise(values)]
    sign = -1 if is_maximised(metric) else 1
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "y": names[::-1],
                "base": values[:-1][::-1],
                "x": moves[::-1],
                "marker": {
                    "color": [INFEASIBLE if sign * move > 0 else ACCENT for move in moves][::-1]
                },
                "customdata": values[1:][::-1],
                "hovertemplate": "%{y}<br>then %{customdata:.4g}<extra></extra>",
            }
        ],
        "layout": {
            "xaxis": {"title": {"text": f"{wording.label(metric)}, expected"}},
            "yaxis": {"automargin": True},
            "showlegend": False,
            "height": 100 + 30 * len(names),
        },
    }


def ablation_note(importance: Json | None) -> str:
    """Say how to read that way, or why there is none."""
    if not importance or "ablation" not in importance:
        return ""
    if importance["ablation"] is None:
        return str(importance["ablation_note"])
    return (
        "From the default to the best trial one change at a time, the one that helps most first; "
        "values are what the forests expect, averaged where a parameter is not active."
    )


def _change(step: Json) -> str:
    return ", ".join(
        f"{one['name']} {wording.plain(one['from'])} → {wording.plain(one['to'])}"
        for one in step["changes"]
    )


def _values(metrics: Iterable[str], told: Json) -> list[str]:
    return [wording.value(metric, told.get(metric)) for metric in metrics]


def _spans(spans: Sequence[Sequence[int]]) -> str:
    shown = [f"{a}" if a == b else f"{a} to {b}" for a, b in spans[:_N_SPANS]]
    if len(spans) > _N_SPANS:
        n_more = sum(b - a + 1 for a, b in spans[_N_SPANS:])
        shown.append(f"and {n_more} more")
    return ", ".join(shown)
