"""What a study's trials explain, as plain JSON in and out: so that another process can do it.

Depends on: stillhouse_optimizer. Run as a module it reads one order from stdin and writes the
answer to stdout; a server that goes away takes its reader along, and with it this process.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from typing import Any

from stillhouse_optimizer import Observation, Problem, explain


def explained(order: Mapping[str, Any]) -> dict[str, Any]:
    """Explain a study's trials.

    Args:
        order: `problem` (as the optimizer reads it), `history` (number, status, config and metrics
            of every told trial), `seed`, `groups`, and `best`: number of the incumbent, or null.

    Returns:
        `metrics`, `incumbent`, `ablation` and `ablation_note` of docs/reports.md's Importance.
    """
    problem = Problem.from_mapping(order["problem"])
    numbers = [number for number, _, _, _ in order["history"]]
    history = [
        Observation(config=config, metrics=metrics and _numbers(metrics), status=status)
        for _, status, config, metrics in order["history"]
    ]
    best = None if order["best"] is None else numbers.index(order["best"])
    found = explain(problem, history, order["seed"], groups=order["groups"], best=best)
    return found.to_json(numbers)


def _numbers(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Metrics as the optimizer knows them: what was no number is stored as null."""
    return {name: math.nan if value is None else value for name, value in metrics.items()}


if __name__ == "__main__":
    os.nice(5)  # trials are compressed and timed on the same machine
    json.dump(explained(json.load(sys.stdin)), sys.stdout)
