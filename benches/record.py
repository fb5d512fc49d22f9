"""One bench's figures as a JSON file that docs/ tables are made from.

Depends on: the standard library.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

Cell = str | float | int | None


def record(
    name: str,
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[Cell]]]],
    figures: Mapping[str, object] | None = None,
) -> Path:
    """Write ``benches/results/<name>.json``.

    Args:
        name: The bench's name; ``make bench ONLY=<name>`` runs it.
        tables: Table id -> (column titles, rows); ``docs/`` shows a table between
            ``<!-- bench:<name>/<table id> -->`` and ``<!-- /bench -->``.
        figures: Everything else worth keeping (raw times, settings, seeds).

    Returns:
        The file written.
    """
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    document = {
        "name": name,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "command": f"make bench ONLY={name}",
        "machine": _machine(),
        "tables": {
            table: {"columns": list(columns), "rows": [list(row) for row in rows]}
            for table, (columns, rows) in tables.items()
        },
        "figures": dict(figures or {}),
    }
    path.write_text(json.dumps(document, indent=1, sort_keys=False) + "\n")
    print(f"wrote {path.relative_to(RESULTS.parent.parent)}", file=sys.stderr)
    return path


def _commit() -> str:
    answer = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or "unknown"


def _machine() -> dict[str, object]:
    """What the figures were measured on: nothing that names the host."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "n_cpus": os.cpu_count(),
        "load_1m": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.system(),
    }
