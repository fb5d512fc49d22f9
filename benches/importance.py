"""Importance: how long it takes, how exact it is, and whether known shares are found.

Depends on: numpy, optuna, stillhouse_optimizer.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

# One core, like every other figure of this bench; before numpy is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import optuna
from record import Cell, record

from stillhouse_optimizer import Observation, Problem, explain, importance
from stillhouse_optimizer.fanova import decompose
from stillhouse_optimizer.grove import expected, grow
from stillhouse_optimizer.space import Space

Function = Callable[[dict[str, Any]], float]
History = list[Observation]

N_TRIALS = (100, 1000)
_N_SEEDS = 10


def main() -> None:
    """Measure, then write the tables."""
    speed = [row for n in N_TRIALS for row in _speed(n)]
    shares = [*_shares(), _enumerated()]
    coverage = [_coverage(n) for n in (40, 200, 1000)]
    record(
        "importance",
        {
            "speed": (["what", "trials", "CPU time", "wanted", "Optuna's evaluator, mains"], speed),
            "shares": (["function", "parameter", "true", "found", "off by", "wanted"], shares),
            "coverage": (
                ["trials", "intervals that hold the true share", "median width"],
                coverage,
            ),
        },
    )


def _floats(n: int) -> list[dict[str, Any]]:
    return [{"name": f"x{i}", "kind": "float", "low": 0.0, "high": 1.0} for i in range(n)]


def _history(parameters: Sequence[dict[str, Any]], f: Function, n: int, seed: int = 0) -> Any:
    problem = Problem.from_mapping({"parameters": parameters})
    space = Space(problem)
    configs = [space.decode(row) for row in space.sample(n, np.random.default_rng(seed))]
    return problem, [Observation(c, {"latency_ratio": f(dict(c))}) for c in configs]


def _thirty() -> list[dict[str, Any]]:
    choices = [{"name": f"c{i}", "kind": "choice", "choices": list("abcde")} for i in range(6)]
    return [*_floats(24), *choices]


def _network(config: dict[str, Any]) -> float:
    """Thirty parameters, ten of which matter, two of them together."""
    together = 5 * config["x8"] * config["x9"]
    return float(
        sum((i + 1) * config[f"x{i}"] for i in range(10)) + 2 * ord(config["c0"]) + together
    )


def _speed(n: int) -> list[list[Cell]]:
    problem, history = _history(_thirty(), _network, n)
    start = time.process_time()
    importance(problem, history, "latency_ratio", 0, with_intervals=False)
    ours_s = time.process_time() - start
    start = time.process_time()
    explain(problem, history, 0)
    all_s = time.process_time() - start
    optuna_s = _optuna(problem, history)
    wanted = "below 1 s" if n == 100 else "5 s or less"
    what = "30 parameters: mains, 435 pairs, curves"
    return [
        [what, n, f"{ours_s:.2f} s", wanted, f"{optuna_s:.2f} s"],
        [
            "the same, with intervals, local importance and ablation",
            n,
            f"{all_s:.2f} s",
            None,
            None,
        ],
    ]


def _optuna(problem: Problem, history: History) -> float:
    """CPU time of Optuna's fANOVA on the same trials, with as many trees."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kinds: dict[str, optuna.distributions.BaseDistribution] = {
        p.name: optuna.distributions.CategoricalDistribution(p.choices)
        if p.is_listed
        else optuna.distributions.FloatDistribution(p.low, p.high, log=p.log)
        for p in problem.parameters
    }
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(
                params=dict(o.config),
                distributions=kinds,
                value=float((o.metrics or {})["latency_ratio"]),
            )
            for o in history
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=64, seed=0)
    start = time.process_time()
    optuna.importance.get_param_importances(study, evaluator=evaluator)
    return time.process_time() - start


def _shares() -> list[list[Cell]]:
    """Shares of functions whose variance is known by hand."""
    lr = {"name": "lr", "kind": "float", "low": 1e-4, "high": 1e-1, "log": True}
    levels = {"a": 0.0, "b": 2.0, "c": -1.0, "d": 0.5, "e": -1.5}
    choice = {"name": "m", "kind": "choice", "choices": list(levels)}
    spread = float(np.var(list(levels.values())))
    cases: list[tuple[str, list[dict[str, Any]], Function, dict[str, float], float]] = [
        # Variances of a x on 0..1 are a^2 / 12.
        (
            "3 x0 + 2 x1 − x2",
            _floats(5),
            lambda c: float(3 * c["x0"] + 2 * c["x1"] - c["x2"]),
            {"x0": 9 / 14, "x1": 4 / 14, "x2": 1 / 14, "x3": 0.0},
            0.03,
        ),
        # log10(lr) is uniform on a range of 3: variance 9 / 12; x0 with weight 3 has as much.
        (
            "log10 lr + 3 x0",
            [lr, *_floats(2)],
            lambda c: float(math.log10(c["lr"]) + 3 * c["x0"]),
            {"lr": 0.5, "x0": 0.5},
            0.03,
        ),
        (
            "level of m + 3 x0",
            [choice, *_floats(2)],
            lambda c: float(levels[c["m"]] + 3 * c["x0"]),
            {"m": spread / (spread + 9 / 12)},
            0.08,
        ),
        # x0 x1: mains 1/48 each, pair 1/144.
        (
            "x0 x1",
            _floats(3),
            lambda c: float(c["x0"] * c["x1"]),
            {"x0": 3 / 7, "x0 × x1": 1 / 7},
            0.03,
        ),
    ]
    rows: list[list[Cell]] = []
    for name, parameters, f, wanted, allowed in cases:
        problem, history = _history(parameters, f, 1000)
        answer = importance(problem, history, "latency_ratio", 0, with_intervals=False)
        found = {p.name: p.importance for p in answer.parameters}
        found |= {" × ".join(sorted(pair[:2])): pair[2] for pair in answer.pairs}
        title = f"{name} (out-of-bag R² {answer.r2_oob or 0.0:.2f})"
        for of, true in wanted.items():
            off = abs(found[of] - true)
            rows.append([title, of, f"{true:.3f}", f"{found[of]:.3f}", f"{off:.3f}", f"{allowed}"])
    return rows


def _enumerated() -> list[Cell]:
    """Largest deviation of any main or pair from full enumeration of the same forest."""
    sizes = (3, 4, 2, 5)
    parameters = [
        {"name": f"p{i}", "kind": "ordinal", "choices": list(range(k))} for i, k in enumerate(sizes)
    ]
    problem, history = _history(
        parameters, lambda c: float(c["p0"] * c["p1"] - c["p3"] + 0.3 * c["p2"]), 80
    )
    space = Space(problem)
    rows = np.array([space.encode(o.config) for o in history])
    y = np.array([(o.metrics or {})["latency_ratio"] for o in history])
    grove = grow(space, rows, y, 64, 0)
    places = (np.array(list(itertools.product(*map(range, sizes)))) + 0.5) / np.array(sizes)
    worst = 0.0
    for boxes in grove.boxes:
        table = expected([boxes], places).reshape(sizes)
        part = decompose(boxes)
        for i in range(len(sizes)):
            main = table.mean(axis=tuple(k for k in range(4) if k != i))
            worst = max(worst, abs(part.mains[i] - main.var()))
            for j in range(i):
                other = table.mean(axis=tuple(k for k in range(4) if k != j))
                joint = table.mean(axis=tuple(k for k in range(4) if k not in (i, j)))
                wanted = joint.var() - main.var() - other.var()
                worst = max(worst, abs(part.pairs[i, j] - wanted))
    title = "against enumeration, 64 trees, 120 configs"
    return [title, "all mains and pairs", None, None, f"{worst:.1e}", "1e-6"]


def _coverage(n: int) -> list[Cell]:
    """How often intervals hold the true share: three effects, noise of a tenth of the variance."""
    true = {"x0": 9 / 14, "x1": 4 / 14, "x2": 1 / 14}
    noise = math.sqrt(0.1 * 14 / 12)
    holds, widths = [], []
    for seed in range(_N_SEEDS):
        rng = np.random.default_rng([seed, n])

        def f(c: dict[str, Any], rng: np.random.Generator = rng) -> float:
            return float(3 * c["x0"] + 2 * c["x1"] - c["x2"] + noise * rng.normal())

        problem, history = _history(_floats(6), f, n, seed)
        for p in importance(problem, history, "latency_ratio", seed).parameters:
            if p.name in true:
                holds.append(p.low <= true[p.name] <= p.high)
                widths.append(p.high - p.low)
    return [n, f"{sum(holds)} of {len(holds)}", f"{np.median(widths):.3f}"]


if __name__ == "__main__":
    main()
