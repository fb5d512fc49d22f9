"""What cheap knowledge and early stops save: trainings to the same latency, epochs, wrong stops.

Depends on: numpy, stillhouse_optimizer, stillhouse_compression, stillhouse_service.

Probe and de-duplication on the stepped networks of the optimiser bench: ``as asked`` knows nothing
of built networks and trains every trial, ``built`` knows which configs come to the same, ``probe``
times the untrained network first and leaves what cannot be faster than the best. Early stops and
successive halving (suites/digits_rungs.py) are replayed on recorded validation curves of the digits
(suites/digits_curves.py).

Runs and curves are kept one to a line and never run twice, so an interrupted bench goes on where it
stopped; ``--minutes`` ends it in time.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# One core; before numpy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from record import RESULTS, Cell, record
from suites import digits_curves, digits_rungs
from suites.optimiser_networks import LATENCY_NOISE, LEVELS, Network

from stillhouse_compression.early_stop import EarlyStop
from stillhouse_optimizer import Observation, Problem, propose
from stillhouse_service.probes import cannot_beat

MODES = ("as asked", "built", "probe")
KIND = "stepped"
N_TRAININGS, N_SEEDS, N_INSTANCES = 40, 20, 3
OPTIMISER_RUNS = RESULTS / "optimiser.runs.jsonl"
RUNGS = RESULTS / "search.rungs.jsonl"
RUNS, CURVES = RESULTS / "search.runs.jsonl", RESULTS / "search.curves.jsonl"
DROPS = (0.01, 0.02, 0.03)
N_ORDERS = 20
Found = dict[tuple[str, str, int], dict[str, Any]]  # level, mode, seed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=math.inf, help="start nothing after this")
    parser.add_argument("--seeds", type=int, default=N_SEEDS, help="seeds 0 to this, excluded")
    parser.add_argument("--curves", action="store_true", help="record curves that are missing")
    parser.add_argument("--summarise", action="store_true", help="run nothing")
    options = parser.parse_args(arguments)
    until = time.monotonic() + 60 * options.minutes
    if options.curves:
        digits_curves.run_missing(CURVES, until - time.monotonic())
    if not options.summarise:
        digits_rungs.run_missing(RUNGS, CURVES, N_SEEDS, until - time.monotonic())
        _run_missing(RUNS, options.seeds, until)
    runs = _read(RUNS)
    curves = digits_curves.read(CURVES)
    record(
        "search",
        {
            "probe": _probe_table(runs),
            "early_stop": _early_stop_table(curves),
            "halving": digits_rungs.table(RUNGS, CURVES),
        },
        {
            "runs": len(runs),
            "seeds": sorted({seed for *_, seed in runs}),
            "trainings": N_TRAININGS,
            "curves": len(curves),
            "orders": N_ORDERS,
        },
    )


def _run_missing(path: Path, n_seeds: int, until: float) -> None:
    """Seed by seed, so that what is there is always side by side."""
    known = _read(path)
    wanted = [(lv, mode, seed) for seed in range(n_seeds) for lv in LEVELS for mode in MODES]
    missing = [key for key in wanted if key not in known]
    for n_run, key in enumerate(missing):
        if time.monotonic() > until:
            print(f"time is up: {len(missing) - n_run} runs are missing", file=sys.stderr)
            return
        line = _run(*key)
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")


@functools.cache
def _network(number: int) -> tuple[Network, dict[str, float]]:
    network = Network.make(KIND, number)
    bounds = {}
    for line in OPTIMISER_RUNS.read_text().splitlines():  # working them out takes seconds
        run = json.loads(line)
        kind, level, *_ = run["cell"].split("/")
        if kind == KIND and run["seed"] % N_INSTANCES == number:
            bounds[level] = float(run["bound"])
    return network, bounds if bounds.keys() == LEVELS.keys() else network.limits()


def _run(level: str, mode: str, seed: int) -> dict[str, Any]:
    """One search of so many trainings; the same noise for the same trial of a seed."""
    network, bounds = _network(seed % N_INSTANCES)
    bound = bounds[level]
    problem = Problem.from_mapping(
        {"parameters": network.parameters(), "constraints": [f"top1_drop <= {bound}"]}
    )
    features = None if mode == "as asked" else network.cheap_features
    history: list[Observation] = []
    best: list[float] = []
    fastest: dict[str, float] | None = None
    n_stopped = 0
    while len(best) < N_TRAININGS and len(history) < 3 * N_TRAININGS:
        config = propose(problem, history, [], seed, cheap_features=features)[0].config
        latency, drop = network.measure(config, np.random.default_rng([seed, 7, len(history)]))
        times = _times(latency)
        if mode == "probe" and fastest and cannot_beat("latency_ratio", times, fastest):
            history.append(Observation(config, times, "stopped"))
            n_stopped += 1
            continue
        history.append(Observation(config, {"latency_ratio": latency, "top1_drop": drop}))
        if drop <= bound and (fastest is None or latency < fastest["latency_ratio"]):
            fastest = times
        best.append(round(100 * fastest["latency_ratio"], 3) if fastest else 900.0)
    return {"level": level, "mode": mode, "seed": seed, "best": best, "n_stopped": n_stopped}


def _times(latency: float) -> dict[str, float]:
    """As a device tells it: with its 95 % interval."""
    spread = 1.96 * LATENCY_NOISE
    low, high = latency * math.exp(-spread), latency * math.exp(spread)
    return {"latency_ratio": latency, "latency_ratio_low": low, "latency_ratio_high": high}


def _probe_table(runs: Found) -> tuple[Sequence[str], Sequence[Sequence[Cell]]]:
    rows: list[Sequence[Cell]] = []
    for level in LEVELS:
        seeds = [s for s in range(N_SEEDS) if all((level, mode, s) in runs for mode in MODES)]
        if not seeds:
            continue
        of = {m: [runs[level, m, s] for s in seeds] for m in MODES}
        curves = {m: np.median([run["best"] for run in of[m]], axis=0) for m in MODES}
        last = {m: float(curves[m][-1]) for m in MODES}
        n_probe = {m: _until(curves["probe"], last[m]) for m in MODES[:2]}
        rows.append(
            [
                f"stepped {level}",
                len(seeds),
                *(f"{last[m]:.1f}" for m in MODES),
                *(_fewer(n_probe[m]) for m in MODES[:2]),
                f"{np.mean([run['n_stopped'] for run in of['probe']]):.1f}",
            ]
        )
    titles = ["networks", "seeds", *(f"{m}: best" for m in MODES)]
    titles += [f"trainings to the best of {m}" for m in MODES[:2]]
    return [*titles, "not trained"], rows


def _until(curve: np.ndarray[Any, np.dtype[np.float64]], target: float) -> int | None:
    """How many trainings a median curve takes to a latency."""
    reached = np.flatnonzero(curve <= target)
    return int(reached[0]) + 1 if len(reached) else None


def _fewer(n: int | None) -> str:
    if n is None:
        return f"more than {N_TRAININGS}"
    return f"{n} of {N_TRAININGS} ({100 * (n / N_TRAININGS - 1):+.0f} %)"


def _early_stop_table(
    curves: dict[digits_curves.Key, Sequence[float]],
) -> tuple[Sequence[str], Sequence[Sequence[Cell]]]:
    titles = ["rule", "limit", "hopeless", "of these ended", "wrongly ended", "epochs spared"]
    if not curves:
        return titles, []
    dense = digits_curves.dense_top1(CURVES)
    rows: list[Sequence[Cell]] = []
    for mode in ("cautious", "bold"):
        for drop in DROPS:
            counts = np.zeros(5)  # hopeless, ended, able, wrongly ended, epochs spared
            for order in range(N_ORDERS):
                shuffled = np.random.default_rng(order).permutation(len(curves))
                every = list(curves.values())
                counts += _replay(mode, dense - drop, [every[i] for i in shuffled])
            hopeless, ended, able, wrong, spared = counts
            n_epochs = N_ORDERS * len(curves) * digits_curves.N_EPOCHS
            rows.append(
                [
                    mode,
                    f"{100 * drop:g} points",
                    f"{hopeless / N_ORDERS:.0f} of {len(curves)}",
                    _share(ended, hopeless),
                    _share(wrong, able),
                    _share(spared, n_epochs),
                ]
            )
    return titles, rows


def _replay(mode: str, wanted: float, curves: Sequence[Sequence[float]]) -> Sequence[float]:
    """One study over recorded trainings in their order; a rule knows those that were not ended."""
    known: list[dict[str, Any]] = []
    hopeless = ended = able = wrong = spared = 0
    for curve in curves:
        rule = EarlyStop(mode, wanted, known[-40:])
        n = len(curve)
        at = next((k for k in range(1, n) if rule.is_lost(curve[:k], n)), None)
        is_able = curve[-1] >= wanted
        able += is_able
        hopeless += not is_able
        if at is None:
            known.append({"top1": curve, "final": curve[-1]})
            continue
        ended += not is_able
        wrong += is_able
        spared += n - at
    return hopeless, ended, able, wrong, spared


def _share(part: float, whole: float) -> str:
    return "–" if not whole else f"{100 * part / whole:.1f} %"


def _read(path: Path) -> Found:
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines]
    return {(one["level"], one["mode"], one["seed"]): one for one in found}


if __name__ == "__main__":
    main()
