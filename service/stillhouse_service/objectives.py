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
