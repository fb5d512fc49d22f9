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


def end_of(metrics: Mapping[str, float], constraint: Constraint) -> float | None:
    """The unfavourable end of the limited metric's interval; None where it has no interval.

    Ends stand among the metrics as ``<metric>_low`` and ``<metric>_high``.
    """
    return metrics.get(f"{constraint.metric}_{'high' if constraint.is_upper else 'low'}")


def is_certain(metrics: Mapping[str, float], constraints: Sequence[Constraint]) -> bool:
    """Whether the limits hold at the unfavourable end of every limited metric's interval.

    A metric without an interval is exact (bytes, MACs), but an accuracy without one is never
    certain: it was counted on a sample of images.
    """
    for constraint in constraints:
        end = end_of(metrics, constraint)
        if end is None:
            if constraint.metric in COUNTED:
                return False
            end = metrics.get(constraint.metric, math.nan)
        if not math.isfinite(end) or not constraint.is_met(end):
            return False
    return True
