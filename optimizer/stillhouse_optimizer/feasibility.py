"""Whether a trial meets its limits.

Depends on: spec.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from stillhouse_optimizer.spec import Constraint


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
