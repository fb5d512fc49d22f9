"""Full trainings beside rungs, on the half of the digits table with the lower learning rate.

Depends on: digits_curves, stillhouse_optimizer.

Every search looks up what a training of so many epochs was recorded to give; which configs it
starts, and which of them it takes further, is decided by the optimizer as in a study. Each search
is one line of a file and never run twice.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from record import RESULTS, Cell
from suites import digits_curves
from suites.digits_table import RANGES

from stillhouse_optimizer import Observation, Problem, propose
from stillhouse_optimizer.halving import Climber, highest, lifted, promotable, status_of_low

N_IMAGES = 300  # of the validation split
LIMITS = (6, 3, 9)  # images that may be lost; the first is the table's own limit
N_EPOCHS = digits_curves.N_EPOCHS
_NAMES = list(RANGES)[:-1]


@dataclass(frozen=True)
class Search:
    """How configs are trained.

    Attributes:
        name: As the table has it.
        n_configs: How many are started.
        rungs: Epochs of each; one rung is full training.
        reduction: One in so many goes on.
    """

    name: str
    n_configs: int
    rungs: Sequence[int] = (N_EPOCHS,)
    reduction: int = 2


# 162 epochs of full trainings, and the rest at no more than half of that where somebody keeps the
# limit: n configs of rungs 1 to 9 cost at most n + 8 n / reduction.
SEARCHES = (
    Search("full trainings", 18),
    Search("full trainings, half as many", 9),
    Search("rungs 1, 9; one in 3", 22, (1, 9), 3),
    Search("rungs 1, 3, 9; one in 3", 22, (1, 3, 9), 3),
    Search("rungs 1, 3, 9; one in 2", 16, (1, 3, 9), 2),
)
Key = tuple[str, int, int]  # name, limit, seed


def run_missing(path: Path, curves: Path, n_seeds: int, seconds: float) -> None:
    """Run the searches that the file lacks, for so long."""
    until = time.monotonic() + seconds
    known = _read(path)
    half = _half(curves)
    if len(half) < 27:
        print(f"{27 - len(half)} curves are missing: --curves records them", file=sys.stderr)
        return
    for seed in range(n_seeds):
        for limit in LIMITS:
            table = Table(half, digits_curves.dense_top1(curves), limit)
            for search in SEARCHES:
                if (search.name, limit, seed) in known:
                    continue
                if time.monotonic() > until:
                    return
                best, n_epochs = _run(table, search, seed)
                line = {
                    "search": search.name,
                    "limit": limit,
                    "seed": seed,
                    "best": best if math.isfinite(best) else None,
                    "epochs": n_epochs,
                }
                with path.open("a") as file:
                    file.write(json.dumps(line) + "\n")


def table(path: Path, curves: Path) -> tuple[Sequence[str], Sequence[Sequence[Cell]]]:
    """For each search and limit how far its best lies above the lowest, and what it cost."""
    titles = ["search", "configs", "searches"]
    for limit in LIMITS:
        points = f"{100 * limit / N_IMAGES:g} {'point' if limit == 3 else 'points'}"
        titles += [f"{points}: best, over the lowest", "found", "epochs"]
    half, runs = _half(curves), _read(path)
    rows: list[Sequence[Cell]] = []
    for search in SEARCHES if len(half) == 27 else ():
        row: list[Cell] = [search.name, search.n_configs]
        counts = []
        for limit in LIMITS:
            seeds = sorted(seed for name, of, seed in runs if (name, of) == (search.name, limit))
            found = [runs[search.name, limit, seed] for seed in seeds]
            if not found:
                return titles, rows
            full = np.mean([runs[SEARCHES[0].name, limit, seed]["epochs"] for seed in seeds])
            lowest = Table(half, digits_curves.dense_top1(curves), limit).lowest()
            over = [100 * ((one["best"] or math.inf) / lowest - 1) for one in found]
            # Of the values themselves: between two of which one found nothing there is none.
            low, middle, high = np.quantile(over, [0.25, 0.5, 0.75], method="higher")
            counts.append(len(found))
            epochs = float(np.mean([one["epochs"] for one in found]))
            row += [
                f"+{middle:.1f} % ({low:.1f}–{high:.1f})",
                f"{sum(one <= 2.0 for one in over)} of {len(found)}",
                f"{epochs:.0f} ({100 * epochs / full:.0f} %)",
            ]
        rows.append([*row[:2], min(counts), *row[2:]])
    return titles, rows


class Table:
    """Recorded accuracies at every number of epochs, and latencies, of 27 configs."""

    def __init__(
        self, curves: Mapping[digits_curves.Key, Sequence[float]], dense_top1: float, limit: int
    ) -> None:
        """Take curves of every config, and how many images may be lost."""
        lines = map(json.loads, (RESULTS / "replay.trials.jsonl").read_text().splitlines())
        rows = {tuple(line["config"][name] for name in RANGES): line for line in lines}
        self._rows = {key: rows[(*key, 0)] for key in curves}
        # Images, so that one that is lost just so often as may be keeps the limit.
        self._n_lost = {
            key: [round((dense_top1 - top1) * N_IMAGES) for top1 in curve]
            for key, curve in curves.items()
        }
        self._limit = limit
        self.problem = Problem.from_mapping(
            {
                "parameters": [
                    {"name": name, "kind": "int", "low": 0, "high": 2, "default": 0}
                    for name in _NAMES
                ],
                "constraints": [f"top1_drop <= {limit / N_IMAGES}"],
                "n_initial": 5,
            }
        )

    def measure(self, config: Mapping[str, Any], n_epochs: int) -> dict[str, float]:
        """What a training of so many epochs was found to be."""
        key = _key(config)
        drop = self._n_lost[key][n_epochs - 1] / N_IMAGES
        return {"latency_ratio": self._rows[key]["latency_ratio"], "top1_drop": drop}

    def best(self, measured: Sequence[Mapping[str, float]]) -> float:
        """The lowest latency of those that keep the limit; infinite where none does."""
        limit = self._limit / N_IMAGES
        return min(
            (m["latency_ratio"] for m in measured if m["top1_drop"] <= limit), default=np.inf
        )

    def features(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """What each config leaves of the dense network."""
        found = [
            self._rows[tuple(int(value) for value in row)]
            for row in zip(*(columns[name] for name in _NAMES), strict=True)
        ]
        return {
            name: np.array([row[name] for row in found]) for name in ("mac_share", "param_share")
        }

    def lowest(self) -> float:
        """The lowest latency that keeps the limit after all epochs."""
        every = [dict(zip(_NAMES, key, strict=True)) for key in self._rows]
        return self.best([self.measure(config, N_EPOCHS) for config in every])


def _run(table: Table, search: Search, seed: int) -> tuple[float, int]:
    """The best of the top rung, and the epochs of all: each goes on where the one below ended."""
    rungs, n_rungs = search.rungs, len(search.rungs)
    climbers: list[Climber] = []
    configs: dict[str, Mapping[str, Any]] = {}
    n_epochs = n_configs = 0
    while True:
        is_last = n_configs == search.n_configs
        key = promotable(table.problem, climbers, n_rungs, search.reduction, is_last)
        if key is None and is_last:
            break
        below = next((one for one in climbers if one.key == key), None)
        if below is None:
            low = status_of_low(climbers, n_rungs)
            history = [
                Observation(
                    configs[one.key], one.metrics, low if one.rung < n_rungs - 1 else "complete"
                )
                for one in highest(lifted(table.problem, climbers, n_rungs))
            ]
            (proposal,) = propose(table.problem, history, [], seed, cheap_features=table.features)
            config, rung = proposal.config, 0
            n_configs += 1
        else:
            config, rung = configs[below.key], below.rung + 1
        n_epochs += rungs[rung] - (rungs[rung - 1] if rung else 0)
        name = str(len(climbers))
        configs[name] = config
        climbers.append(Climber(name, rung, table.measure(config, rungs[rung]), came_from=key))
    return table.best([one.metrics or {} for one in climbers if one.rung == n_rungs - 1]), n_epochs


def _half(curves: Path) -> dict[digits_curves.Key, Sequence[float]]:
    return {key[:-1]: curve for key, curve in digits_curves.read(curves).items() if key[-1] == 0}


def _key(config: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(config[name]) for name in _NAMES)


def _read(path: Path) -> dict[Key, dict[str, Any]]:
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines]
    return {(one["search"], one["limit"], one["seed"]): one for one in found}
