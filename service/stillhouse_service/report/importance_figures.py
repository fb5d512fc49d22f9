"""Plots of parameter importance as plain Plotly JSON: shares of variance and marginal curves.

Depends on: the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_service.report import wording
from stillhouse_service.report.figures import ACCENT, BAND, MUTED, Figure
from stillhouse_service.report.importance_csv import ranked

Json = Mapping[str, Any]

_MAX_CURVES = 6


def importance_bars(of_metric: Json) -> Figure | None:
    """Shares of variance of one metric, most important on top; None where no ranking may be."""
    parameters = ranked(of_metric)[::-1]
    if not parameters:
        return None
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": [p["importance"] for p in parameters],
                "y": [p["name"] for p in parameters],
                "marker": {"color": ACCENT},
                "hovertemplate": "%{y}<br>%{x:.1%} of the variance<extra></extra>",
                **_interval(parameters),
            }
        ],
        "layout": {
            "xaxis": {
                "title": {"text": "share of variance explained"},
                "tickformat": ".0%",
                "rangemode": "tozero",
            },
            "yaxis": {"automargin": True},
            "showlegend": False,
            "height": 90 + 34 * len(parameters),
        },
    }


def _interval(parameters: Sequence[Json]) -> Figure:
    """Draw the shares' intervals, where the analysis has them."""
    if not all("importance_low" in p and "importance_high" in p for p in parameters):
        return {}
    return {
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [p["importance_high"] - p["importance"] for p in parameters],
            "arrayminus": [p["importance"] - p["importance_low"] for p in parameters],
            "color": MUTED,
            "thickness": 1.5,
            "width": 4,
        }
    }


def marginals(metric: str, of_metric: Json, parameters: Sequence[Json]) -> list[Figure]:
    """The metric over each of the most important parameters, all others averaged out."""
    known = {p["name"]: p for p in parameters}
    entries = [e for e in ranked(of_metric)[:_MAX_CURVES] if (e.get("curve") or {}).get("x")]
    if not entries:
        return []
    # one scale for all, so that a parameter without effect looks flat
    edges = [
        mean + sign * sd
        for entry in entries
        for mean, sd in zip(entry["curve"]["mean"], _spread(entry["curve"]), strict=True)
        for sign in (-1, 1)
        if math.isfinite(mean)
    ]
    low, high = min(edges, default=0.0), max(edges, default=1.0)
    margin = 0.05 * (high - low) or 0.01
    scale = [low - margin, high + margin]
    return [_marginal(metric, entry, known.get(entry["name"], {}), scale) for entry in entries]


def _log_axis(x: Sequence[float]) -> Figure:
    """Ticks at both ends and in the middle: Plotly's own are bare digits within a decade."""
    ticks = [x[0], math.sqrt(x[0] * x[-1]), x[-1]]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:.3g}" for tick in ticks]}


def _spread(curve: Json) -> list[float]:
    return list(curve.get("sd") or [0.0] * len(curve["x"]))


def _marginal(metric: str, entry: Json, parameter: Json, scale: Sequence[float]) -> Figure:
    curve = entry["curve"]
    x, mean, sd = list(curve["x"]), list(curve["mean"]), _spread(curve)
    title = {"text": entry["name"], "font": {"size": 13}}
    layout: Figure = {
        "title": title,
        "yaxis": {"title": {"text": wording.label(metric)}, "range": list(scale)},
        "xaxis": _log_axis(x) if parameter.get("log") else {},
        "showlegend": False,
        "height": 260,
        "margin": {"t": 44, "r": 12, "b": 40, "l": 60},
    }
    if metric.startswith("top"):
        layout["yaxis"]["tickformat"] = ".1%"
    if parameter.get("kind") in ("choice", "ordinal") or any(isinstance(v, str) for v in x):
        layout["xaxis"] = {"type": "category"}
        points = {
            "type": "scatter",
            "mode": "markers",
            "x": [wording.plain(v) for v in x],
            "y": mean,
            "marker": {"size": 10, "color": ACCENT},
            "error_y": {"type": "data", "array": sd, "color": MUTED},
        }
        return {"data": [points], "layout": layout}
    band = {
        "type": "scatter",
        "mode": "lines",
        "x": x + x[::-1],
        "y": [m + s for m, s in zip(mean, sd, strict=True)]
        + [m - s for m, s in zip(mean, sd, strict=True)][::-1],
        "fill": "toself",
        "fillcolor": BAND,
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": mean,
        "line": {"color": ACCENT, "width": 2},
        "hovertemplate": "%{x:.4g}: %{y:.4g}<extra></extra>",
    }
    return {"data": [band, line], "layout": layout}
