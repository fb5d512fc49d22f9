"""Optimisers side by side: best feasible latency after 30 and 60 trials, and the time of an ask.

Depends on: numpy, scipy, optuna, stillhouse_optimizer.

Runs are kept one to a line in ``--out`` and never run twice, so an interrupted bench goes on where
it stopped; ``--minutes`` ends it sooner. ``--summarise`` only writes the tables from what is there.
A cell is ``kind/level/searcher/in_flight``; globs choose cells. Instance ``seed % 3`` of a kind is
searched.
"""

from __future__ import annotations

import argparse
import fnmatch
import functools
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# One core, like every other figure of this bench; before numpy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from record import RESULTS, Cell, record
from scipy.stats import wilcoxon  # type: ignore[import-untyped]  # has no types
from suites.optimiser_networks import KINDS, LEVELS, Network
from suites.optimiser_plot import write_plot
from suites.optimiser_searchers import run

SEARCHERS = ("forest", "auto", "gp", "forest_plain", "optuna_gp", "optuna_tpe", "random")
OURS = ("forest", "auto", "gp", "forest_plain")
PEERS = ("optuna_gp", "optuna_tpe")
IN_FLIGHT = ("forest", *PEERS)  # those that also run with 8 trials in flight
N_TRIALS = 60
N_INSTANCES = 3
# Suffix of a table's name -> the kinds it shows.
FAMILIES = {"": KINDS[:2], "_narrow": KINDS[2:]}
# Cell -> seed -> run.
Found = dict[str, dict[int, dict[str, Any]]]
DEFAULT_OUT = RESULTS / "optimiser.runs.jsonl"
FLOORS = RESULTS / "optimiser.floors.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.add_argument(
        "--cells", nargs="*", default=["*"], help="globs, e.g. 'stepped/*/forest/1'"
    )
    parser.add_argument("--seeds", type=int, default=9, help="seeds 0 to this, excluded")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="start no run that would end later"
    )
    parser.add_argument("--summarise", action="store_true", help="run nothing")
    parser.add_argument("--plot", type=Path, help="HTML file for curves of every cell")
    options = parser.parse_args(arguments)

    if not options.summarise:
        _run_missing(options.out, options.cells, options.seeds, 60 * options.minutes)
    runs = _read(options.out)
    record("optimiser", _tables(runs), {"runs": len(runs), "trials_a_run": N_TRIALS})
    if options.plot is not None:
        write_plot(options.plot, runs, KINDS, list(LEVELS), SEARCHERS)


def _run_missing(out: Path, globs: Sequence[str], n_seeds: int, seconds: float) -> None:
    """Run what no line of ``out`` holds; seed by seed, so that pairs are complete early."""
    start, longest = time.monotonic(), 0.0
    cells = [cell for cell in _cells() if any(fnmatch.fnmatch(cell, glob) for glob in globs)]
    done = _done(out)
    missing = [(c, s) for s in range(n_seeds) for c in cells if (c, s) not in done]
    for n_run, (cell, seed) in enumerate(missing):
        before = time.monotonic()
        if before - start + longest > seconds:
            print(f"time is up: {len(missing) - n_run} runs are missing", file=sys.stderr)
            return
        _keep(out, _run(cell, seed))
        longest = max(longest, time.monotonic() - before)


def _cells() -> list[str]:
    serial = [f"{k}/{lv}/{s}/1" for k in KINDS for lv in LEVELS for s in SEARCHERS]
    return [*serial, *(f"{k}/{lv}/{s}/8" for k in KINDS for lv in LEVELS for s in IN_FLIGHT)]


@functools.cache
def _network(kind: str, number: int) -> tuple[Network, dict[str, float]]:
    network = Network.make(kind, number)
    return network, network.limits()


def _run(cell: str, seed: int) -> dict[str, Any]:
    kind, level, searcher, in_flight = cell.split("/")
    network, bounds = _network(kind, seed % N_INSTANCES)
    bound = bounds[level]
    rng = np.random.default_rng([seed, 7])
    start = time.process_time()
    trials = run(
        searcher, network, bound, N_TRIALS, seed, lambda c: network.measure(c, rng), int(in_flight)
    )
    seconds = time.process_time() - start
    best: list[float] = []
    winner = None
    for config, latency, drop in trials:
        if drop <= bound and (not best or latency < best[-1]):
            winner = config
        best.append(min([latency, *best[-1:]]) if drop <= bound else (best[-1] if best else 9.0))
    true_drop = network.truth(winner)[1] if winner else None
    return {
        "cell": cell,
        "seed": seed,
        "bound": bound,
        "best": [round(100 * b, 3) for b in best],
        "n_feasible": sum(drop <= bound for _, _, drop in trials),
        "winner_true_latency": round(100 * network.truth(winner)[0], 3) if winner else None,
        "winner_true_excess": round(true_drop - bound, 5) if true_drop is not None else None,
        "cpu_s_a_trial": round(seconds / N_TRIALS, 4),
    }


def _tables(
    runs: Sequence[dict[str, Any]],
) -> dict[str, tuple[Sequence[str], Sequence[Sequence[Cell]]]]:
    found: Found = {}
    for entry in runs:
        found.setdefault(entry["cell"], {})[entry["seed"]] = entry
    tables: dict[str, tuple[Sequence[str], Sequence[Sequence[Cell]]]] = {}
    for family, kinds in FAMILIES.items():
        tables[f"quality{family}"] = _quality(found, kinds)
        pairs = [(ours, "1", peer, "1") for peer in PEERS for ours in OURS]
        pairs += [(searcher, "8", searcher, "1") for searcher in IN_FLIGHT]
        pairs += [("forest", "8", peer, "8") for peer in PEERS]
        tables[f"paired{family}"] = (
            [
                "paired",
                "pairs (each cell)",
                "median change",
                "each cell",
                "wins",
                "losses",
                "Wilcoxon p",
            ],
            [_paired(found, kinds, *pair) for pair in pairs],
        )
    return tables


def _quality(found: Found, kinds: Sequence[str]) -> tuple[Sequence[str], Sequence[Sequence[Cell]]]:
    quality: list[list[Cell]] = []
    for searcher, in_flight in [*((s, "1") for s in SEARCHERS), *((s, "8") for s in IN_FLIGHT)]:
        row: list[Cell] = [searcher if in_flight == "1" else f"{searcher}, 8 in flight"]
        cpu = []
        for kind in kinds:
            for level in LEVELS:
                cell = found.get(f"{kind}/{level}/{searcher}/{in_flight}", {})
                cpu += [entry["cpu_s_a_trial"] for entry in cell.values()]
                row.append(_quartiles(list(cell.values())))
        quality.append([*row, f"{np.median(cpu):.3f} s" if cpu else None])
    floors: list[Cell] = ["*floor*"]
    for kind in kinds:
        for level in LEVELS:
            lowest = [_floor(kind, number, level) for number in range(N_INSTANCES)]
            floors.append(f"{np.median(lowest):.1f}")
    columns = [f"{kind} {level}" for kind in kinds for level in LEVELS]
    return ["searcher", *columns, "CPU a trial"], [*quality, [*floors, None]]


def _floor(kind: str, number: int, level: str) -> float:
    """An instance's floor; kept beside the runs, as it takes seconds and never changes."""
    known = json.loads(FLOORS.read_text()) if FLOORS.exists() else {}
    key = f"{kind}/{level}/{number}"
    if key not in known:
        network, bounds = _network(kind, number)
        known[key] = round(100 * network.floor(bounds[level]), 2)
        FLOORS.write_text(json.dumps(known, indent=1) + "\n")
    return float(known[key])


def _quartiles(entries: Sequence[dict[str, Any]]) -> str | None:
    if not entries:
        return None
    early = np.median([entry["best"][29] for entry in entries])
    low, middle, high = np.quantile([entry["best"][-1] for entry in entries], [0.25, 0.5, 0.75])
    return f"{early:.1f} → {middle:.1f} ({low:.1f}–{high:.1f}; {len(entries)})"


def _paired(
    found: Found, kinds: Sequence[str], one: str, in_flight: str, other: str, beside: str
) -> list[Cell]:
    """One searcher against another on the same instances and seeds, at the last trial."""
    name = " / ".join(
        f"{s}{', 8 in flight' if n != '1' else ''}" for s, n in ((one, in_flight), (other, beside))
    )
    by_cell: list[list[float]] = []
    for kind in kinds:
        for level in LEVELS:
            ours = found.get(f"{kind}/{level}/{one}/{in_flight}", {})
            theirs = found.get(f"{kind}/{level}/{other}/{beside}", {})
            both = sorted(set(ours) & set(theirs))
            by_cell.append([ours[s]["best"][-1] / theirs[s]["best"][-1] for s in both])
    ratios = [ratio for cell in by_cell for ratio in cell]
    if not ratios:
        return [name, 0, None, None, None, None, None]
    p = float(wilcoxon(np.log(ratios)).pvalue) if len(ratios) > 5 else None
    cells = " ".join(_change(cell) if cell else "–" for cell in by_cell)
    wins, losses = sum(r < 1 for r in ratios), sum(r > 1 for r in ratios)
    pairs = f"{len(ratios)} ({' '.join(str(len(cell)) for cell in by_cell)})"
    return [name, pairs, f"{_change(ratios)} %", cells, wins, losses, p]


def _change(ratios: Sequence[float]) -> str:
    return f"{100 * (float(np.median(ratios)) - 1):+.1f}"


def _read(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _done(path: Path) -> set[tuple[str, int]]:
    return {(entry["cell"], entry["seed"]) for entry in _read(path)}


def _keep(path: Path, entry: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")
    print(entry["cell"], entry["seed"], entry["best"][29], entry["best"][-1], file=sys.stderr)


if __name__ == "__main__":
    main()
