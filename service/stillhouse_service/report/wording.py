"""Numbers and verdicts as people read them: units, percent, points, and the direction to turn.

Depends on: the standard library. The only place where fractions become percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LABELS = {
    "latency_p50_ms": "Latency p50",
    "latency_p95_ms": "Latency p95",
    "latency_ratio": "Latency ratio",
    "throughput_per_s": "Throughput",
    "top1": "Top-1",
    "top5": "Top-5",
    "top1_drop": "Top-1 lost",
    "params": "Parameters",
    "macs": "MACs",
    "model_bytes": "ONNX file",
}
_VERDICTS = {
    "enough": "Enough data",
    "care": "Treat with care",
    "not_enough": "Not enough data",
}
_STRENGTHS = ("weakly", "mostly", "plainly")
_OPERATORS = {"<=": "at most", ">=": "at least", "<": "below", ">": "above"}
NOTHING = "–"


def label(metric: str) -> str:
    """Name a metric for a reader."""
    return _LABELS.get(metric, metric.replace("_", " "))


def value(metric: str, number: float | None) -> str:
    """Write a metric's value with its unit; a dash if there is none."""
    if number is None:
        return NOTHING
    metric = metric.removesuffix("_low").removesuffix("_high")  # ends read like what they bound
    if metric.endswith("_ms"):
        return f"{number:.3f} ms" if number < 10 else f"{number:.1f} ms"
    if metric.endswith("_ratio"):
        return f"{number:.3f}"
    if metric in ("top1", "top5") or metric.endswith(("_top1", "_top5")):
        return f"{100 * number:.2f} %"
    if metric.endswith("_drop"):
        return points(number)
    if metric.endswith("_per_s"):
        return f"{number:,.0f} /s"
    if metric.endswith("bytes"):
        return f"{number / 1e6:.2f} MB" if number >= 1e6 else f"{number / 1e3:.1f} kB"
    if metric == "macs":
        return f"{number / 1e6:.2f} M"
    if metric == "params":
        return f"{number:,.0f}"
    return plain(number)


def points(fraction: float) -> str:
    """Write a difference of fractions in percentage points."""
    return f"{100 * fraction:.2f} points"


def plain(scalar: object) -> str:
    """Write a parameter's value, four significant digits for a float."""
    if isinstance(scalar, bool):
        return "on" if scalar else "off"
    if isinstance(scalar, float):
        return f"{scalar:.4g}"
    return str(scalar)


def interval(metrics: Mapping[str, Any], metric: str) -> str:
    """Write a metric with its 95 % interval, where it was measured with one."""
    low, high = metrics.get(f"{metric}_low"), metrics.get(f"{metric}_high")
    text = value(metric, metrics.get(metric))
    if low is None or high is None:
        return text
    return f"{text} ({value(metric, low)} to {value(metric, high)})"


def duration(seconds: float | None) -> str:
    """Write a time span: `45 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds is None:
        return NOTHING
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def constraint(metric: str, operator: str, bound: float) -> str:
    """Write a constraint as a sentence's part: `Top-1 lost at most 2.00 points`."""
    return f"{label(metric)} {_OPERATORS.get(operator, operator)} {value(metric, bound)}"


def verdict(name: str) -> str:
    """Name how far an importance analysis may be believed."""
    return _VERDICTS.get(name, name)


def direction(parameter: Mapping[str, Any]) -> str:
    """Say where a metric goes as a parameter rises, and how plainly.

    Args:
        parameter: An entry of an importance's `parameters`.
    """
    said = {
        "up": "rises",
        "down": "falls",
        "peaked": "highest inside",
        "valley": "lowest inside",
        "none": "no trend",
    }.get(str(parameter.get("direction")), NOTHING)
    strength = parameter.get("strength")
    if not strength:
        return said
    peak = ""
    curve = parameter.get("curve") or {}
    if parameter["direction"] in ("peaked", "valley") and curve.get("mean"):
        extreme = max if parameter["direction"] == "peaked" else min
        at = curve["mean"].index(extreme(curve["mean"]))
        peak = f" near {plain(curve['x'][at])}"
    return f"{said}{peak}, {_STRENGTHS[min(int(strength * 3), 2)]}"


def correlation(parameter: Mapping[str, Any]) -> str:
    """Write a parameter's rank correlation with a metric; a dash where there is none."""
    found = parameter.get("rank_correlation")
    return NOTHING if found is None else f"{found:+.2f}".replace("-", "−")


def activity(parameter: Mapping[str, Any]) -> str:
    """Say in how many trials a conditional parameter was active; empty where it always was."""
    there = parameter.get("active_importance")
    if there is None:
        return ""
    share = f"active in {100 * parameter['active_share']:.0f} % of the trials"
    return f"{share}; {100 * there:.0f} % of the variance there"


def share(parameter: Mapping[str, Any]) -> str:
    """Write a parameter's share of the variance, with its interval where it has one."""
    text = f"{100 * parameter['importance']:.0f} %"
    low, high = parameter.get("importance_low"), parameter.get("importance_high")
    if low is None or high is None:
        return text
    return f"{text} ({100 * low:.0f} to {100 * high:.0f})"
