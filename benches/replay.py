"""Optimisers on recorded trials of the digits: real trainings and timings, looked up.

Depends on: numpy, scipy, optuna, stillhouse_optimizer.

``results/replay.trials.jsonl`` holds a trial of every config of a small space
(suites/digits_table.py); what is missing of it is run first, which takes some ten seconds a trial.
``--minutes`` ends that in time; it goes on there the next time.
A searcher may ask for the same config twice; it gets the same answer and has lost a trial.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

# One core; before numpy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from record import RESULTS, Cell, record
from scipy.stats import wilcoxon  # type: ignore[import-untyped]  # has no types
from suites.digits_table import BOUND, DigitsTable, keys, run_missing
from suites.optimiser_searchers import run

SEARCHERS = ("forest", "auto", "gp", "forest_plain", "optuna_gp", "optuna_tpe", "random")
N_OURS = 4
AT = (12, 18, 24)
TRIALS = RESULTS / "replay.trials.jsonl"


def main(arguments: Sequence[str] | None = None) -> None:
    """Record what is wanted, replay, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=np.inf, help="run no missing trial later")
    parser.add_argument("--seeds", type=int, default=9, help="seeds 0 to this, excluded")
    options = parser.parse_args(arguments)
    n_missing = run_missing(TRIALS, 60 * options.minutes)
    if n_missing:
        raise SystemExit(f"{n_missing} of {len(keys())} trials are missing: run it again")
    table = DigitsTable.read(TRIALS)
    found = {
        name: [_best(table, name, seed) for seed in range(options.seeds)] for name in SEARCHERS
    }
    lowest = table.lowest()
    rows: list[Sequence[Cell]] = [
        [name, *(_quartiles([run[at - 1] / lowest for run in runs]) for at in AT)]
        for name, runs in found.items()
    ]
    paired: list[Sequence[Cell]] = [
        [f"{ours} / {peer}", *(_paired(found[ours], found[peer], at) for at in AT)]
        for peer in SEARCHERS[N_OURS:]
        for ours in SEARCHERS[:2]
    ]
    record(
        "replay",
        {
            "best": (["searcher", *(f"{at} trials" for at in AT)], rows),
            "paired": (["paired", *(f"{at} trials" for at in AT)], paired),
        },
        {
            "seeds": options.seeds,
            "configs": len(keys()),
            "bound": BOUND,
            "lowest": lowest,
            "feasible_share": table.feasible_share(),
        },
    )


def _best(table: DigitsTable, name: str, seed: int) -> list[float]:
    """Lowest latency within the limit so far, after each trial; the dense network is the first."""
    trials = run(name, table, BOUND, AT[-1], seed, table.measure, 1)
    print(name, seed, file=sys.stderr)
    kept = [latency if drop <= BOUND else np.inf for _, latency, drop in trials]
    return [float(best) for best in np.minimum.accumulate(kept)]


def _quartiles(ratios: Sequence[float]) -> str:
    low, middle, high = 100 * (np.quantile(ratios, [0.25, 0.5, 0.75]) - 1)
    return f"+{middle:.1f} % ({low:.1f}–{high:.1f})"


def _paired(ours: Sequence[list[float]], theirs: Sequence[list[float]], at: int) -> str:
    ratios = [a[at - 1] / b[at - 1] for a, b in zip(ours, theirs, strict=True)]
    wins, losses = sum(r < 1 for r in ratios), sum(r > 1 for r in ratios)
    told = f"{100 * (float(np.median(ratios)) - 1):+.1f} %, {wins} : {losses}"
    if wins + losses > 5:
        told += f", p = {float(wilcoxon(np.log(ratios)).pvalue):.2g}"
    return told


if __name__ == "__main__":
    main()
