"""What an earlier study is worth: the best latency with a related source, a misleading one, none.

Depends on: numpy, scipy, stillhouse_optimizer.

Runs are kept one to a line and never run twice, so an interrupted bench goes on where it stopped;
``--minutes`` ends it sooner, ``--summarise`` only writes the tables. Each source is a search of 60
trials on another network (suites/other_networks.py), kept as well.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# One core; before numpy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from record import RESULTS, Cell, record
from scipy.stats import wilcoxon  # type: ignore[import-untyped]  # has no types
from suites.kept_runs import keep, read
from suites.optimiser_networks import KINDS, Network
from suites.other_networks import misleading, related

from stillhouse_optimizer import Observation, Problem, propose
from stillhouse_optimizer.sources import Source

SUITES = KINDS[:2]
LEVEL = "2%"
# What is learned from -> trials that are run.
LEARNING = {"none": 60, "related": 30, "misleading": 60}
OTHERS = {"related": related, "misleading": misleading}
N_SOURCE, N_INSTANCES = 60, 3
OUT = RESULTS / "transfer.runs.jsonl"
Run = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0 to this, excluded")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no run later")
    parser.add_argument("--suites", nargs="*", default=list(SUITES), choices=SUITES)
    parser.add_argument("--summarise", action="store_true", help="run nothing")
    options = parser.parse_args(arguments)
    if not options.summarise:
        _run_missing(options.out, options.seeds, options.suites, 60 * options.minutes)
    runs = {(entry["cell"], entry["seed"]): entry for entry in read(options.out)}
    record(
        "transfer",
        {"best": _best(runs), "paired": _paired(runs)},
        {"runs": len(runs), "level": LEVEL, "trials_of_a_source": N_SOURCE},
    )


def _run_missing(out: Path, n_seeds: int, suites: Sequence[str], seconds: float) -> None:
    start = time.monotonic()
    wanted = []
    for seed in range(n_seeds):
        for kind in suites:
            for name in LEARNING:
                if name in OTHERS:
                    wanted.append((f"{kind}/source-{name}", seed % N_INSTANCES))
                wanted.append((f"{kind}/{name}", seed))
    done = {(entry["cell"], entry["seed"]): entry for entry in read(out)}
    for cell, seed in wanted:
        if (cell, seed) in done:
            continue
        if time.monotonic() - start > seconds:
            print("time is up: run it again for the rest", file=sys.stderr)
            return
        kind, name = cell.split("/")
        number = seed % N_INSTANCES
        if name.startswith("source-"):
            other = OTHERS[name.removeprefix("source-")](Network.make(kind, number))
            entry = _search(other, LEVEL, N_SOURCE, 1000 + seed, []) | {"cell": cell, "seed": seed}
        else:
            source = done.get((f"{kind}/source-{name}", number))
            sources = [] if source is None else [_source(Network.make(kind, number), source)]
            found = _search(Network.make(kind, number), LEVEL, LEARNING[name], seed, sources)
            del found["trials"]
            entry = found | {"cell": cell, "seed": seed}
        keep(out, entry)
        done[cell, seed] = entry


def _problem(network: Network, bound: float) -> Problem:
    return Problem.from_mapping(
        {
            "parameters": network.parameters(),
            "constraints": [{"metric": "top1_drop", "op": "<=", "bound": bound}],
        }
    )


def _source(network: Network, entry: Run) -> Source:
    history = [Observation(config, metrics) for config, metrics in entry["trials"]]
    return Source("source", _problem(network, 1.0).parameters, history)


def _search(
    network: Network, level: str, n: int, seed: int, sources: Sequence[Source]
) -> dict[str, Any]:
    bound = network.limits()[level]
    problem = _problem(network, bound)
    rng = np.random.default_rng([seed, 7])
    start = time.process_time()
    history: list[Observation] = []
    weights: list[float] = []
    while len(history) < n:
        found = propose(
            problem, history, [], seed, cheap_features=network.cheap_features, sources=sources
        )[0]
        if found.weights:
            weights.append(float(np.mean(list(found.weights["source"].values()))))
        latency, drop = network.measure(found.config, rng)
        history.append(Observation(found.config, {"latency_ratio": latency, "top1_drop": drop}))
    seconds = time.process_time() - start
    trials = [(trial.config, dict(trial.metrics or {})) for trial in history]
    kept = [m["latency_ratio"] if m["top1_drop"] <= bound else math.inf for _, m in trials]
    best = np.minimum.accumulate(kept)
    return {
        "bound": bound,
        "best": [round(100 * min(float(b), 9.0), 3) for b in best],
        "weight": round(float(np.mean(weights)), 3) if weights else None,
        "cpu_s_a_trial": round(seconds / n, 4),
        "trials": trials,
    }


Runs = Mapping[tuple[str, int], Run]


def _of(runs: Runs, cell: str) -> dict[int, Run]:
    return {seed: entry for (name, seed), entry in runs.items() if name == cell}


def _best(runs: Runs) -> tuple[Sequence[str], Sequence[Sequence[Cell]]]:
    rows: list[Sequence[Cell]] = []
    for name, n in LEARNING.items():
        row: list[Cell] = [f"source: {name}"]
        weights, cpu = [], []
        for kind in SUITES:
            found = list(_of(runs, f"{kind}/{name}").values())
            weights += [entry["weight"] for entry in found if entry["weight"] is not None]
            cpu += [entry["cpu_s_a_trial"] for entry in found]
            if not found:
                row.append(None)
                continue
            at = [k for k in (10, 20, 30, 60) if k <= n]
            middle = [f"{np.median([e['best'][k - 1] for e in found]):.1f}" for k in at]
            row.append(f"{' → '.join(middle)} ({len(found)})")
        weight = f"{np.median(weights):.2f}" if weights else None
        rows.append([*row, weight, f"{np.median(cpu):.3f} s" if cpu else None])
    return ["", *SUITES, "weight of the source", "CPU a trial"], rows


def _paired(runs: Runs) -> tuple[Sequence[str], Sequence[Sequence[Cell]]]:
    rows: list[Sequence[Cell]] = []
    for name, at, beside in (
        ("related", 30, 60),
        ("related", 30, 30),
        ("misleading", 60, 60),
        ("misleading", 30, 30),
    ):
        for kind in SUITES:
            with_it, without = _of(runs, f"{kind}/{name}"), _of(runs, f"{kind}/none")
            both = sorted(set(with_it) & set(without))
            ratios = [with_it[s]["best"][at - 1] / without[s]["best"][beside - 1] for s in both]
            change = f"{100 * (float(np.median(ratios)) - 1):+.1f} %" if ratios else None
            wins, losses = sum(r < 1 for r in ratios), sum(r > 1 for r in ratios)
            p = float(wilcoxon(np.log(ratios)).pvalue) if len(ratios) > 5 else None
            said = f"{name}, {at} trials / none, {beside}"
            rows.append([said, kind, len(both), change, wins, losses, p])
    columns = ["paired", "suite", "pairs", "median change", "wins", "losses", "Wilcoxon p"]
    return columns, rows


if __name__ == "__main__":
    main()
