"""An experiment's plots as small SVG files, for a page that is read without a script.

Depends on: the standard library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Row = Mapping[str, Any]
_COLOURS = {"filter": "#1b7f5c", "channel": "#2f6fb3", "element": "#b3541e"}
_OTHER, _INK, _LINE = "#666666", "#555555", "#bbbbbb"
_WIDTH, _LEFT, _RIGHT, _ROW = 860, 300, 24, 18


def ratio_plot(trials: Sequence[Row]) -> str:
    """Draw every measured trial's latency ratio with its 95 % interval, one row each."""
    rows = [row for row in trials if row["latency_ratio"] is not None]
    ends = [row["latency_ratio_low"] for row in rows] + [r["latency_ratio_high"] for r in rows]
    low, high = min([0.9, *ends]), max([1.1, *ends])
    height = 40 + _ROW * len(rows)

    def x(ratio: float) -> float:
        return float(_LEFT + (ratio - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT))

    parts = [_axis(x(1.0), 8, x(1.0), height - 26)]
    for number, row in enumerate(rows):
        y = 16 + _ROW * number
        colour = _COLOURS.get(row["domain"], _OTHER)
        left, right = x(row["latency_ratio_low"]), x(row["latency_ratio_high"])
        parts += [
            _text(_LEFT - 8, y + 4, str(row["case"]), "end"),
            f'<line x1="{left:.1f}" y1="{y}" x2="{right:.1f}" y2="{y}" stroke="{colour}"/>',
            f'<circle cx="{x(row["latency_ratio"]):.1f}" cy="{y}" r="4" fill="{colour}"/>',
        ]
    parts += [_text(x(at), height - 8, f"{at:g}", "middle") for at in _ticks(low, high)]
    return _drawing(height, parts)


def scatter_plot(trials: Sequence[Row], key: str, label: str) -> str:
    """Draw latency ratio against another figure, coloured by domain."""
    rows = [r for r in trials if r["latency_ratio"] is not None and r[key] is not None]
    xs, ys = [float(r[key]) for r in rows], [float(r["latency_ratio"]) for r in rows]
    x_low, x_high = min([0.0, *xs]), max([0.05, *xs])
    y_low, y_high = min([0.9, *ys]), max([1.1, *ys])
    height, left, bottom = 380, 60, 48

    def x(value: float) -> float:
        return left + (value - x_low) / (x_high - x_low) * (_WIDTH - left - _RIGHT)

    def y(value: float) -> float:
        return height - bottom - (value - y_low) / (y_high - y_low) * (height - bottom - 16)

    parts = [_axis(left, y(1.0), _WIDTH - _RIGHT, y(1.0))]
    parts += [
        f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="4.5" fill-opacity="0.75" '
        f'fill="{_COLOURS.get(row["domain"], _OTHER)}"><title>{escape(str(row["case"]))}</title>'
        "</circle>"
        for row, a, b in zip(rows, xs, ys, strict=True)
    ]
    parts += [_text(left - 8, y(at) + 4, f"{at:g}", "end") for at in _ticks(y_low, y_high)]
    parts += [
        _text(x(at), height - bottom + 18, f"{100 * at:g} %", "middle")
        for at in _ticks(x_low, x_high)
    ]
    parts.append(_text(_WIDTH / 2, height - 8, f"{label}; upwards: latency ratio", "middle"))
    offset = 0
    for domain, colour in _COLOURS.items():
        parts.append(f'<circle cx="{left + 10 + offset}" cy="10" r="4" fill="{colour}"/>')
        parts.append(_text(left + 20 + offset, 14, domain, "start"))
        offset += 90
    return _drawing(height, parts)


def _ticks(low: float, high: float) -> list[float]:
    """Round values between two ends, six at most."""
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
    step = next((one for one in steps if (high - low) / one <= 6), steps[-1])
    first = int(low / step)
    found = [round((first + i) * step, 6) for i in range(-1, 9)]
    return [at for at in found if low <= at <= high]


def _axis(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{_LINE}" '
        'stroke-dasharray="4 3"/>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _drawing(height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'font-family="sans-serif" font-size="12" fill="{_INK}">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>\n"])
