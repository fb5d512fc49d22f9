"""An experiment's plots as plain Plotly JSON; colours as in figures.py.

Depends on: figures, for its colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_service.report.figures import ACCENT, BASELINE, FEASIBLE, INFEASIBLE, MUTED

Json = Mapping[str, Any]
Figure = dict[str, Any]
_DOMAINS = {"filter": FEASIBLE, "channel": ACCENT, "element": INFEASIBLE}
_SYMBOLS = {"filter": "circle", "channel": "diamond", "element": "square"}


def figures(evaluation: Json) -> dict[str, Figure]:
    """Give every plot of one network on one device that shows anything: name -> figure."""
    trials = [row for row in evaluation["trials"] if row["latency_ratio"] is not None]
    found = {
        "ratios": _ratios(trials),
        "macs": _against(trials, "mac_share", "MACs left", ".0%"),
        "accuracy": _against(trials, "top1_drop", "Top-1 lost, validation split", ".1%"),
        "layers": _layers(evaluation["analysis"]["layers"]),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def _ratios(trials: Sequence[Json]) -> Figure | None:
    """Every trial's ratio with its interval, algorithm by algorithm."""
    if not trials:
        return None
    data = []
    for domain in dict.fromkeys(row["domain"] for row in trials):
        own = [row for row in trials if row["domain"] == domain]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": domain,
                "x": [row["latency_ratio"] for row in own],
                "y": [row["case"] for row in own],
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [row["latency_ratio_high"] - row["latency_ratio"] for row in own],
                    "arrayminus": [row["latency_ratio"] - row["latency_ratio_low"] for row in own],
                    "color": MUTED,
                },
                "marker": _marker(domain),
                "hovertemplate": "%{y}<br>ratio %{x:.3f}<extra></extra>",
            }
        )
    return {
        "data": data,
        "layout": {
            "xaxis": {"title": {"text": "Latency ratio, 95 % interval"}},
            "yaxis": {"automargin": True, "autorange": "reversed"},
            "height": 160 + 22 * len(trials),
            "shapes": [_line("x", 1.0)],
        },
    }


def _against(trials: Sequence[Json], key: str, label: str, form: str) -> Figure | None:
    """Ratio against another figure, by domain."""
    known = [row for row in trials if row[key] is not None]
    if len(known) < 2:
        return None
    data = []
    for domain in dict.fromkeys(row["domain"] for row in known):
        own = [row for row in known if row["domain"] == domain]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": domain,
                "x": [row[key] for row in own],
                "y": [row["latency_ratio"] for row in own],
                "text": [row["case"] for row in own],
                "marker": _marker(domain),
                "hovertemplate": "%{text}<br>%{x}, ratio %{y:.3f}<extra></extra>",
            }
        )
    return {
        "data": data,
        "layout": {
            "xaxis": {"title": {"text": label}, "tickformat": form},
            "yaxis": {"title": {"text": "Latency ratio"}},
            "shapes": [_line("y", 1.0)],
        },
    }


def _layers(layers: Sequence[Json]) -> Figure | None:
    """Each layer's own time, cut and masked, as a share of the baseline's."""
    known = [row for row in layers if row["cut"]["n"] or row["masked"]["n"]]
    if not known:
        return None
    names = [row["layer"] for row in known]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": title,
            "x": [row[kind]["ratio"] for row in known],
            "y": names,
            "marker": {"size": 9, "color": colour},
            "hovertemplate": "%{y}<br>%{x:.2f} of its time<extra>" + title + "</extra>",
        }
        for kind, title, colour in (
            ("cut", "cut", FEASIBLE),
            ("masked", "zeros masked", INFEASIBLE),
        )
    ]
    return {
        "data": data,
        "layout": {
            "xaxis": {"title": {"text": "The layer's own time to the baseline's"}},
            "yaxis": {"automargin": True, "autorange": "reversed"},
            "height": 140 + 22 * len(known),
            "shapes": [_line("x", 1.0)],
        },
    }


def _marker(domain: str) -> Figure:
    colour, symbol = _DOMAINS.get(domain, BASELINE), _SYMBOLS.get(domain, "cross")
    return {"size": 9, "color": colour, "symbol": symbol}


def _line(axis: str, at: float) -> Figure:
    """A dashed line across the plot where nothing has changed."""
    along = "y" if axis == "x" else "x"
    return {
        "type": "line",
        f"{axis}ref": axis,
        f"{along}ref": "paper",
        f"{axis}0": at,
        f"{axis}1": at,
        f"{along}0": 0,
        f"{along}1": 1,
        "line": {"dash": "dash", "width": 1.5, "color": BASELINE},
    }
