"""Whether a trial meets its limits.

Depends on: spec.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from stillhouse_optimizer.spec import Constraint

# Metrics counted on a sample of images.
COUNTED = frozenset({"top1", "top5", "top1_drop"})


def is_feasible(
    metrics: Mapping[str, float], constraints: Sequence[Constraint]
) -> tuple[bool, dict[str, float | None]]:
    """Judge a complete trial by its measured values alone.

    Args:
        metrics: Raw values by name.
        constraints: All must hold.

    Returns:
        Whether all hold, and for each violated metric by how much, in its own unit (0.0 where a
        strict limit is met exactly, None where the metric is missing or not a finite number).
    """
    violations: dict[str, float | None] = {}
    for constraint in constraints:
        value = metrics.get(constraint.metric)
        if value is None or not math.isfinite(value):
            violations[constraint.metric] = None
        elif not constraint.is_met(value):
            earlier = violations.get(constraint.metric, 0.0)
            if earlier is not None:
                violations[constraint.metric] = max(earlier, abs(value - constraint.bound))
    return not violations, violations


def is_certain(metrics: Mapping[str, float], constraints: Sequence[Constraint]) -> bool:
    """Whether the limits hold at the unfavourable end of every limited metric's interval.

    The ends stand among the metrics as ``<metric>_low`` and ``<metric>_high``. A metric without an
    end is exact (bytes, MACs), but an accuracy without one is never certain: it was counted on a
    sample of images.
    """
    for constraint in constraints:
        metric = constraint.metric
        end = metrics.get(f"{metric}_high" if constraint.is_upper else f"{metric}_low")
        if end is None:
            if metric in COUNTED:
                return False
            end = metrics.get(metric, math.nan)
        if not math.isfinite(end) or not constraint.is_met(end):
            return False
    return True
