"""Runs of a bench that goes on where it stopped: one JSON object to a line.

Depends on: the standard library.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def read(path: Path) -> Sequence[dict[str, Any]]:
    """Every run kept so far."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def keep(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a run."""
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")
    print(entry["cell"], entry["seed"], entry["cpu_s_a_trial"], file=sys.stderr)
