"""Many at once: leases a second, a thousand that wait, a million trials, a server that is killed.

Depends on: httpx, psutil, the service and its simulation; tests/shared for a real Postgres and for
servers that are killed. Every server is a process of its own, spoken to over real HTTP.

``--part leases|waiting|large|takeover`` measures one part anew and keeps the others' figures;
``STILLHOUSE_BENCH_QUICK=1`` takes a tenth, to see that it runs.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from record import RESULTS, Cell, record
from suites.fleet_large import large
from suites.fleet_leases import leases
from suites.fleet_places import QUICK, Filled, Table, environment_of, forker, postgres_in
from suites.fleet_waiting import waiting

N_KILLS = 1 if QUICK else 5


def main() -> None:
    """Measure the parts asked for; writes ``results/fleet.json``."""
    parts: dict[str, Callable[[Path], dict[str, Table]]] = {
        "leases": leases,
        "waiting": waiting,
        "takeover": takeover,
        "large": large,
    }
    wanted = sys.argv[sys.argv.index("--part") + 1].split(",") if "--part" in sys.argv else parts
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            _keep(name, parts[name](Path(folder)))


def _keep(part: str, tables: dict[str, Table]) -> None:
    """Write a part's tables beside those of the other parts."""
    path = RESULTS / "fleet.json"
    before = json.loads(path.read_text()) if path.exists() else {"tables": {}, "figures": {}}
    kept: dict[str, Table] = {
        name: (table["columns"], table["rows"]) for name, table in before["tables"].items()
    }
    load = round(os.getloadavg()[0], 2)
    figures = {**before["figures"], part: {"load_1m": load, "is_quick": QUICK}}
    record("fleet", kept | tables, figures)


def takeover(folder: Path) -> dict[str, Table]:
    """How long nobody drives when the server that drives is killed, frozen or ended."""
    rows: list[list[Cell]] = []
    with ExitStack() as stack:
        url = stack.enter_context(postgres_in(folder))
        filled = Filled(url, folder / "Postgres")
        filled.study()
        replicas = stack.enter_context(forker())
        for how, number in (
            ("kill -9", signal.SIGKILL),
            ("frozen (SIGSTOP)", signal.SIGSTOP),
            ("ended (SIGTERM)", signal.SIGTERM),
        ):
            gaps = []
            for _ in range(N_KILLS if number != signal.SIGSTOP else max(1, N_KILLS // 2)):
                environment = environment_of(url, folder / "Postgres")
                both = [replicas.start(environment) for _ in range(2)]
                while not any(one.drives for one in both):
                    time.sleep(0.1)
                first, second = sorted(both, key=lambda one: one.drives, reverse=True)
                time.sleep(1.0)
                first.send(number)
                begun_s = time.perf_counter()
                while not second.drives:
                    time.sleep(0.02)
                gaps.append(time.perf_counter() - begun_s)
                replicas.end_all()
            rows.append([how, len(gaps), statistics.median(gaps), max(gaps), 30])
        filled.engine.dispose()
    columns = ("the leading server is", "n", "median, s", "longest, s", "wanted below, s")
    return {"takeover": (columns, rows)}


if __name__ == "__main__":
    main()
