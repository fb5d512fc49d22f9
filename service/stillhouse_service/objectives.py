"""Which metrics a study may name, and within which limits it wants them.

Depends on: stillhouse_optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_optimizer.spec import Constraint

# Fractions 0..1; the unit is in the name.
METRICS = (
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_ratio",
    "throughput_per_s",
    "model_bytes",
    "macs",
    "params",
    "top1",
    "top5",
    "top1_drop",
)

# What a device's clock alone tells, and whether less of it is better.
TIMED: Mapping[str, bool] = {
    "latency_p50_ms": True,
    "latency_p95_ms": True,
    "latency_ratio": True,
    "throughput_per_s": False,
}

# Metric -> least and largest value it can have; of the others every one from 0 up.
RANGES: Mapping[str, tuple[float, float]] = {
    "top1": (0.0, 1.0),
    "top5": (0.0, 1.0),
    "top1_drop": (-1.0, 1.0),
}


# Metric -> its name in a study's `baseline_measurement`.
OF_BASELINE: Mapping[str, str] = {
    "latency_p50_ms": "p50_ms",
    "latency_p95_ms": "p95_ms",
    "throughput_per_s": "throughput_per_s",
    "model_bytes": "model_bytes",
    "macs": "macs",
    "params": "params",
    "top1": "validation_top1",
    "top5": "validation_top5",
}


def reference_of(
    spec: Mapping[str, Any], measured: Mapping[str, float] | None
) -> Mapping[str, float]:
    """Say from where a front is measured, in the objectives for which no limit says it.

    Args:
        spec: The spec; its own `reference` comes first.
        measured: The study's `baseline_measurement`: whoever does worse than the baseline is of no
            interest. In accuracies without a limit everything is: down to a top1 of 0.
    """
    found: dict[str, float] = dict(spec.get("reference") or {})
    limited = {Constraint.parse(text).metric for text in spec["constraints"]}
    for metric in spec["objectives"]:
        if metric in found or metric in limited or not measured:
            continue
        if metric in ("top1", "top5"):
            found[metric] = 0.0
        elif metric == "top1_drop" and "validation_top1" in measured:
            found[metric] = float(measured["validation_top1"])
        elif OF_BASELINE.get(metric) in measured:
            found[metric] = float(measured[OF_BASELINE[metric]])
    return found


def constraints_of(
    spec: Mapping[str, Any], measured: Mapping[str, float] | None
) -> Sequence[Constraint]:
    """Read the constraints of a stored study spec; relative ones held against the baseline.

    Args:
        spec: The spec.
        measured: The study's `baseline_measurement`; None where the device has not checked yet.

    Raises:
        ProblemError: A relative one, and the baseline was not measured.
    """
    known = measured or {}
    baseline = {metric: known[name] for metric, name in OF_BASELINE.items() if name in known}
    return [Constraint.parse(text).against(baseline) for text in spec["constraints"]]
