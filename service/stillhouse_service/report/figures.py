"""The report's plots as plain Plotly JSON; colours are names that the page fills in by theme.

Depends on: the standard library. A figure that would show nothing is None: the page has words
for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_service.report import wording
from stillhouse_service.report.facts import Facts

Json = Mapping[str, Any]
Figure = dict[str, Any]

# Replaced by the page's script; each theme has its own shade of them.
FEASIBLE, INFEASIBLE, FAILED = "@feasible", "@infeasible", "@failed"
BASELINE, ACCENT, MUTED, BAND = "@baseline", "@accent", "@muted", "@band"


def history(facts: Facts) -> Figure | None:
    """The objective over trial numbers: feasible, infeasible and failed told apart."""
    metric = facts.objective
    if not facts.complete:
        return None
    data = [
        _points(facts.feasible, "number", metric, "feasible", FEASIBLE, "circle"),
        _points(facts.infeasible, "number", metric, "breaks the limit", INFEASIBLE, "circle-open"),
    ]
    best: list[tuple[int, float]] = []
    for trial in facts.feasible:
        here = float(trial["metrics"][metric])
        best.append((trial["number"], min(here, best[-1][1]) if best else here))
    last = max(int(t["number"]) for t in facts.trials)
    if best:
        best.append((last, best[-1][1]))
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "best feasible so far",
                "x": [number for number, _ in best],
                "y": [value for _, value in best],
                "line": {"shape": "hv", "color": FEASIBLE, "width": 2},
                "hoverinfo": "skip",
            }
        )
    if facts.failed:
        # at the upper edge: a failed trial has no height
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "failed",
                "x": [t["number"] for t in facts.failed],
                "y": [0.98] * len(facts.failed),
                "yaxis": "y2",
                "marker": {"symbol": "x", "color": FAILED, "size": 9},
                "text": [_failure_text(t) for t in facts.failed],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    layout: Figure = {
        "xaxis": {"title": {"text": "trial"}, "range": [-0.5, last + 0.5], "dtick": 1 + last // 10},
        "yaxis": {"title": {"text": wording.label(metric)}},
        "yaxis2": {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
    }
    if metric == "latency_ratio":
        layout |= _line("y", 1.0, "baseline", BASELINE)
    return {"data": data, "layout": layout}


def tradeoff(facts: Facts) -> Figure | None:
    """Latency against accuracy, with the baseline and the threshold."""
    if not any("top1" in t["metrics"] for t in facts.complete):
        return None
    # A ratio is measured within one job; absolute times of different jobs also tell how busy the
    # host was.
    x = facts.objective if facts.objective.startswith("latency") else "latency_ratio"
    data = [
        _points(facts.feasible, x, "top1", "feasible", FEASIBLE, "circle"),
        _points(facts.infeasible, x, "top1", "breaks the limit", INFEASIBLE, "circle-open"),
    ]
    winner = facts.winner
    if winner is not None:
        data.append(_star([winner["metrics"][x]], [winner["metrics"]["top1"]], "best feasible"))
    measured: Json = facts.study["baseline_measurement"] or {}
    top1 = measured.get("validation_top1")
    baseline_x = {
        "latency_ratio": 1.0,
        "latency_p50_ms": measured.get("p50_ms"),
        "latency_p95_ms": measured.get("p95_ms"),
    }.get(x)
    if baseline_x is not None and top1 is not None:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "baseline",
                "x": [baseline_x],
                "y": [top1],
                "marker": {"symbol": "diamond", "size": 11, "color": BASELINE},
                "hovertemplate": "baseline<br>Top-1 %{y:.2%}<extra></extra>",
            }
        )
    layout: Figure = {
        "xaxis": {"title": {"text": wording.label(x) + (", ms" if x.endswith("_ms") else "")}},
        "yaxis": {"title": {"text": "Top-1, validation split"}, "tickformat": ".1%"},
    }
    limit = facts.accuracy_constraint
    if limit is not None and limit.metric == "top1":
        layout |= _line("y", limit.bound, "limit", INFEASIBLE)
    elif limit is not None and limit.metric == "top1_drop" and top1 is not None:
        layout |= _line("y", top1 - limit.bound, "limit", INFEASIBLE)
    return {"data": data, "layout": layout}


def layer_times(facts: Facts) -> Figure | None:
    """Time of each layer, baseline beside winner; None without the winner's layers."""
    layers = list((facts.winner or {}).get("layers") or [])[::-1]
    if not layers:
        return None
    names = [row["layer"] for row in layers]
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": names,
            "x": [row[key] for row in layers],
            "marker": {"color": colour},
            "hovertemplate": "%{y}<br>%{x:.4f} ms<extra>" + name + "</extra>",
        }
        for name, key, colour in (
            ("best feasible", "candidate_ms", FEASIBLE),
            ("baseline", "baseline_ms", BASELINE),
        )
    ]
    return {
        "data": bars,
        "layout": {
            "barmode": "group",
            "bargap": 0.3,
            "xaxis": {"title": {"text": "ms"}, "rangemode": "tozero"},
            "yaxis": {"automargin": True},
            "legend": {"traceorder": "reversed"},
            "height": 120 + 26 * len(layers),
        },
    }


def _points(trials: Sequence[Json], x: str, y: str, name: str, colour: str, symbol: str) -> Figure:
    """One trace of trials; `x` is `number` or a metric."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [t["number"] if x == "number" else t["metrics"].get(x) for t in trials],
        "y": [t["metrics"].get(y) for t in trials],
        "marker": {
            "symbol": symbol,
            "color": colour,
            "size": 9,
            "line": {"width": 2, "color": colour},
        },
        "text": [_trial_text(t) for t in trials],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _star(x: list[float], y: list[float], name: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x,
        "y": y,
        "marker": {"symbol": "star", "size": 16, "color": FEASIBLE},
        "hoverinfo": "skip",
    }


def _line(axis: str, at: float, name: str, colour: str) -> Figure:
    """A dashed horizontal line across the plot, with its name at the right end."""
    shape = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": axis,
        "y0": at,
        "y1": at,
        "line": {"dash": "dash", "width": 1.5, "color": colour},
    }
    note = {
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "yref": axis,
        "y": at,
        "yanchor": "bottom",
        "text": name,
        "showarrow": False,
        "font": {"color": colour, "size": 12},
    }
    return {"shapes": [shape], "annotations": [note]}


def _trial_text(trial: Json) -> str:
    metrics = trial["metrics"]
    lines = [f"<b>trial {trial['number']}</b> ({trial['origin']})"]
    prediction: Json = trial.get("prediction") or {}
    if prediction.get("p_feasible") is not None:
        expected = wording.value("latency_ratio", prediction.get("latency_ratio"))
        chance = f"{100 * prediction['p_feasible']:.0f} % to keep the limits"
        lines.append(f"expected: ratio {expected}, {chance}")
    lines += [
        f"{wording.label(name)} {wording.value(name, metrics[name])}"
        for name in ("latency_p50_ms", "latency_ratio", "top1", "top1_drop")
        if name in metrics
    ]
    lines += [f"{name} = {wording.plain(v)}" for name, v in trial["config"].items()]
    return "<br>".join(_escape(line) if i else line for i, line in enumerate(lines))


def _failure_text(trial: Json) -> str:
    failure = trial["failure"] or {}
    reason = _escape(str(failure.get("reason", "")))[:200]
    return f"<b>trial {trial['number']}</b><br>{failure.get('stage', '')}: {reason}"


def _escape(text: str) -> str:
    """Keep Plotly's own small HTML from reading a name as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
