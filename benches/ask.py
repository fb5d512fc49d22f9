"""How long the optimiser takes to say what to try next, and how much memory: fresh processes.

Depends on: numpy, stillhouse_optimizer. Each history is asked of in a process of its own: the first
ask is a server's first after a restart, the others are those of one that runs on.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

# One core; before numpy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from record import Cell, record

from stillhouse_optimizer import Observation, Problem, propose
from stillhouse_optimizer.space import Space

SURROGATES = ("forest", "gp", "auto", "forest_plain")
SIZES = (100, 1000, 5000)
WANTED_S = {100: 0.1, 1000: 0.2, 5000: 0.4}
N_ASKS = 5


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, or (``child``) be measured."""
    if list(arguments[:1]) == ["child"]:
        print(json.dumps(_asked(arguments[1], int(arguments[2]))))
        return
    rows: list[list[Cell]] = []
    figures = {}
    for surrogate in SURROGATES:
        row: list[Cell] = [surrogate]
        for n in SIZES:
            answer = subprocess.run(
                [sys.executable, __file__, "child", surrogate, str(n)],
                capture_output=True,
                text=True,
                check=True,
            )
            told = figures[f"{surrogate}/{n}"] = json.loads(answer.stdout)
            again, memory = statistics.median(told["cpu_s"][1:]), told["peak_mb"]
            row.append(f"{told['cpu_s'][0]:.2f}, {again:.2f} s, {memory:.0f} MB")
            print(surrogate, n, row[-1], file=sys.stderr)
        rows.append(row)
    wanted: list[Cell] = ["wanted", *(f"{WANTED_S[n]} s, below 300 MB" for n in SIZES)]
    record("ask", {"ask": (["surrogate", *(f"n = {n}" for n in SIZES)], [*rows, wanted])}, figures)


def problem(surrogate: str) -> Problem:
    """30 parameters, three of them conditional, of every kind."""
    parameters: list[dict[str, Any]] = [
        {"name": f"layer{k}.sparsity", "kind": "float", "low": 0.0, "high": 0.9, "default": 0.0}
        for k in range(19)
    ]
    for k in range(3):
        parameters.append({"name": f"m{k}", "kind": "choice", "choices": ["a", "b", "c"]})
        condition = [{"parent": f"m{k}", "values": ["b"]}]
        ramp = {"name": f"r{k}", "kind": "float", "low": 0.0, "high": 1.0, "condition": condition}
        parameters.append(ramp)
    parameters += [
        {"name": "lr", "kind": "float", "low": 1e-4, "high": 0.1, "log": True},
        {"name": "decay", "kind": "float", "low": 1e-6, "high": 0.01, "log": True},
        {"name": "epochs", "kind": "int", "low": 2, "high": 12},
        {"name": "batch", "kind": "ordinal", "choices": [32, 64, 128, 256]},
        {"name": "warm", "kind": "float", "low": 0.0, "high": 1.0, "step": 0.1},
    ]
    return Problem.from_mapping(
        {
            "parameters": parameters,
            "constraints": ["top1_drop <= 0.05"],
            "surrogate": surrogate,
        }
    )


def history(asked: Problem, n: int) -> list[Observation]:
    """Random trials; drop and latency follow the sparsities, with noise."""
    space, rng = Space(asked), np.random.default_rng(0)
    trials = []
    for row in space.sample(n, rng):
        removed = row[:19]
        drop = 0.2 * float((removed**2).mean()) + 0.002 * rng.normal()
        ratio = float(np.exp(-removed.mean() + 0.01 * rng.normal()))
        trials.append(Observation(space.decode(row), {"latency_ratio": ratio, "top1_drop": drop}))
    return trials


def _asked(surrogate: str, n: int) -> dict[str, Any]:
    asked = problem(surrogate)
    trials = history(asked, n)
    cpu_s, wall_s = [], []
    for k in range(N_ASKS):
        start, start_cpu = time.perf_counter(), time.process_time()
        propose(asked, trials[: n - k], [], seed=1)
        cpu_s.append(time.process_time() - start_cpu)
        wall_s.append(time.perf_counter() - start)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu_s": cpu_s, "wall_s": wall_s, "peak_mb": peak_mb}


if __name__ == "__main__":
    main(sys.argv[1:])
