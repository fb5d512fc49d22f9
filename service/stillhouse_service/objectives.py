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

# Metric -> least and largest value it can have; of the others every one from 0 up.
RANGES: Mapping[str, tuple[float, float]] = {
    "top1": (0.0, 1.0),
    "top5": (0.0, 1.0),
    "top1_drop": (-1.0, 1.0),
}


def constraints_of(spec: Mapping[str, Any]) -> Sequence[Constraint]:
    """Read the constraints of a stored study spec."""
    return [Constraint.parse(text) for text in spec["constraints"]]
