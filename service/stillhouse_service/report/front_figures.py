"""A front's plots as plain Plotly JSON.

Depends on: figures, wording.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_service.report import wording
from stillhouse_service.report.figures import ACCENT, BASELINE, FEASIBLE, INFEASIBLE, MUTED, Figure
from stillhouse_service.report.front_words import on_front

Json = Mapping[str, Any]


def front_plot(front: Json) -> Figure | None:
    """The first two objectives of every measured trial, the front as a line; None without one."""
    x, y = front["objectives"][:2]
    line = on_front(front)
    if not line:
        return None
    beaten = [p for p in front["points"] if p["is_feasible"] and p["is_dominated"]]
    broken = [p for p in front["points"] if not p["is_feasible"]]
    stepped = len(front["objectives"]) == 2
    data: list[Figure] = []
    for name, points, colour, symbol in (
        ("breaks a limit", broken, INFEASIBLE, "circle-open"),
        ("beaten by another", beaten, MUTED, "circle"),
        ("front", line, FEASIBLE, "circle"),
    ):
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if name == "front" and stepped else "markers",
                "name": name,
                "x": [p["values"][x] for p in points],
                "y": [p["values"][y] for p in points],
                "marker": {"symbol": symbol, "color": colour, "size": 9},
                "line": {"shape": "hv", "color": colour, "width": 2},
                "text": [f"trial {p['number']}" for p in points],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "measured from",
            "x": [front["reference"][x]],
            "y": [front["reference"][y]],
            "marker": {"symbol": "diamond", "size": 11, "color": BASELINE},
            "hoverinfo": "skip",
        }
    )
    layout = {
        "xaxis": {"title": {"text": wording.label(x)}},
        "yaxis": {"title": {"text": wording.label(y)}},
    }
    return {"data": data, "layout": layout}


def volume_plot(front: Json) -> Figure | None:
    """Hypervolume over trial numbers; None while it is 0."""
    volumes = front["hypervolume"]
    if not volumes or volumes[-1]["hypervolume"] <= 0:
        return None
    data = {
        "type": "scatter",
        "mode": "lines",
        "name": "hypervolume",
        "x": [one["number"] for one in volumes],
        "y": [one["hypervolume"] for one in volumes],
        "line": {"shape": "hv", "color": ACCENT, "width": 2},
    }
    layout = {
        "xaxis": {"title": {"text": "trial"}},
        "yaxis": {"title": {"text": "hypervolume"}, "rangemode": "tozero"},
        "height": 260,
    }
    return {"data": [data], "layout": layout}
