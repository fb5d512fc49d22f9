"""Fronts side by side: hypervolume of latency and accuracy lost after 100 trials.

Depends on: numpy, scipy, optuna, stillhouse_optimizer.

Runs are kept one to a line and never run twice, so an interrupted bench goes on where it stopped;
``--minutes`` ends it sooner, ``--summarise`` only writes the tables. Every searcher begins with the
dense network. Volume is that of the noise-free values of all trials, as a share of what lies
between the origin and the reference (the dense network's latency, the limit of the drop).
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# One core; before numpy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from record import RESULTS, Cell, record
from scipy.stats import wilcoxon  # type: ignore[import-untyped]  # has no types
from suites.kept_runs import keep, read
from suites.optimiser_networks import KINDS, Network
from suites.optimiser_searchers import suggest

from stillhouse_optimizer import Observation, Problem, propose
from stillhouse_optimizer.pareto import hypervolume

SEARCHERS = ("forest", "optuna_nsga2", "optuna_tpe", "random")
PEERS = SEARCHERS[1:]
SUITES = KINDS[:2]
LEVEL = "15%"
N_TRIALS, N_INSTANCES = 100, 3
AT = (30, 60, 100)
OUT = RESULTS / "front.runs.jsonl"
Measure = Callable[[Mapping[str, Any]], tuple[float, float]]
Configs = Sequence[Mapping[str, Any]]


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
    tables = {"volume": _volumes(runs), "paired": _paired(runs)}
    record("front", tables, {"runs": len(runs), "trials_a_run": N_TRIALS, "level": LEVEL})


def _run_missing(out: Path, n_seeds: int, suites: Sequence[str], seconds: float) -> None:
    start = time.monotonic()
    done = {(entry["cell"], entry["seed"]) for entry in read(out)}
    for seed in range(n_seeds):
        for kind in suites:
            network = None
            for searcher in SEARCHERS:
                cell = f"{kind}/{searcher}"
                if (cell, seed) in done:
                    continue
                if time.monotonic() - start > seconds:
                    print("time is up: run it again for the rest", file=sys.stderr)
                    return
                network = network or Network.make(kind, seed % N_INSTANCES)
                keep(out, _run(network, cell, searcher, seed))


def _run(network: Network, cell: str, searcher: str, seed: int) -> dict[str, Any]:
    bound = network.limits()[LEVEL]
    rng = np.random.default_rng([seed, 7])
    start = time.process_time()
    configs = _searched(searcher, network, bound, seed, lambda c: network.measure(c, rng))
    seconds = time.process_time() - start
    truth = np.array([network.truth(config) for config in configs])
    corner = np.array([1.0, bound])
    volumes = [hypervolume(truth[:n], corner) / bound for n in range(1, N_TRIALS + 1)]
    return {
        "cell": cell,
        "seed": seed,
        "bound": bound,
        "volume": [round(volume, 5) for volume in volumes],
        "cpu_s_a_trial": round(seconds / N_TRIALS, 4),
    }


def _searched(
    searcher: str, network: Network, bound: float, seed: int, measure: Measure
) -> Configs:
    if searcher == "random":
        rng = np.random.default_rng([seed, 99])
        rest = [network.random_config(rng) for _ in range(N_TRIALS - 1)]
        return [network.dense_config(), *rest]
    if searcher.startswith("optuna"):
        return _optuna(searcher, network, bound, seed, measure)
    problem = Problem.from_mapping(
        {
            "parameters": network.parameters(),
            "objectives": ["latency_ratio", "top1_drop"],
            "constraints": [{"metric": "top1_drop", "op": "<=", "bound": bound}],
            "surrogate": searcher,
        }
    )
    history: list[Observation] = []
    while len(history) < N_TRIALS:
        found = propose(problem, history, [], seed, cheap_features=network.cheap_features)[0]
        latency, drop = measure(found.config)
        history.append(Observation(found.config, {"latency_ratio": latency, "top1_drop": drop}))
    return [trial.config for trial in history]


def _optuna(searcher: str, network: Network, bound: float, seed: int, measure: Measure) -> Configs:
    try:
        import optuna  # ours and random search run without the peers
    except ModuleNotFoundError:
        raise SystemExit(f"{searcher} is not installed: pip install 'stillhouse[bench]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def excess(trial: optuna.trial.FrozenTrial) -> Sequence[float]:
        return (trial.user_attrs["drop"] - bound,)

    configs: list[dict[str, Any]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental arguments, conditional parameters
        sampler: optuna.samplers.BaseSampler
        if searcher == "optuna_nsga2":
            # Its default population of 50 leaves two generations; ten is the better peer here.
            sampler = optuna.samplers.NSGAIISampler(
                seed=seed, constraints_func=excess, population_size=10
            )
        else:
            sampler = optuna.samplers.TPESampler(seed=seed, constraints_func=excess)
        study = optuna.create_study(sampler=sampler, directions=["minimize", "minimize"])
        study.enqueue_trial(network.dense_config())
        while len(configs) < N_TRIALS:
            asked = study.ask()
            config = suggest(network, asked)
            latency, drop = measure(config)
            asked.set_user_attr("drop", drop)
            study.tell(asked, [latency, drop])
            configs.append(config)
    return configs


Runs = Mapping[tuple[str, int], Mapping[str, Any]]


def _of(runs: Runs, cell: str) -> dict[int, Mapping[str, Any]]:
    return {seed: entry for (name, seed), entry in runs.items() if name == cell}


def _volumes(runs: Runs) -> tuple[Sequence[str], Sequence[Sequence[Cell]]]:
    rows: list[Sequence[Cell]] = []
    for searcher in SEARCHERS:
        row: list[Cell] = [searcher]
        cpu = []
        for kind in SUITES:
            found = _of(runs, f"{kind}/{searcher}").values()
            cpu += [entry["cpu_s_a_trial"] for entry in found]
            if not found:
                row.append(None)
                continue
            middle = [f"{np.median([e['volume'][n - 1] for e in found]):.3f}" for n in AT]
            low, high = np.quantile([e["volume"][-1] for e in found], [0.25, 0.75])
            row.append(f"{' → '.join(middle)} ({low:.3f}–{high:.3f}; {len(found)})")
        rows.append([*row, f"{np.median(cpu):.3f} s" if cpu else None])
    return ["searcher", *SUITES, "CPU a trial"], rows


def _paired(runs: Runs) -> tuple[Sequence[str], Sequence[Sequence[Cell]]]:
    """Ours against each peer on the same instances and seeds, after the last trial."""
    rows: list[Sequence[Cell]] = []
    for peer in PEERS:
        for kind in SUITES:
            ours, theirs = _of(runs, f"{kind}/forest"), _of(runs, f"{kind}/{peer}")
            both = sorted(set(ours) & set(theirs))
            ratios = [ours[s]["volume"][-1] / theirs[s]["volume"][-1] for s in both]
            change = f"{100 * (float(np.median(ratios)) - 1):+.1f} %" if ratios else None
            p = float(wilcoxon(np.log(ratios)).pvalue) if len(ratios) > 5 else None
            wins, losses = sum(r > 1 for r in ratios), sum(r < 1 for r in ratios)
            rows.append([f"forest / {peer}", kind, len(both), change, wins, losses, p])
    columns = ["paired", "suite", "pairs", "median change", "wins", "losses", "Wilcoxon p"]
    return columns, rows


if __name__ == "__main__":
    main()
