"""A made-up measurement of a made-up network, as a device host reports it.

Depends on: law.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from stillhouse_service.simulation.law import Law

_WRONG_BY_CHANCE = 0.004  # of the images: right by one network and not by the other
_NAMES = ("p25_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "cpu_p50_ms")


def result(law: Law, made_up: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """Measure a network: what is true of it, and the noise of a real measurement.

    Args:
        law: The world.
        made_up: What its file says, `law.Truth` as JSON.
        rng: Draws the noise.

    Returns:
        A `Result` of docs/protocol.md.
    """
    ratio = made_up["ratio"] * math.exp(rng.gauss(0.0, law.noise))
    wide = math.exp(1.96 * law.noise)
    n = law.n_images
    is_same = made_up["ratio"] == 1.0
    n_baseline = round(law.baseline_top1 * n)
    by_chance = 0.0 if is_same else _WRONG_BY_CHANCE
    n_lost = min(n_baseline, _binomial(n, made_up["top1_drop"] + by_chance, rng))
    n_won = min(n - n_baseline, _binomial(n, by_chance, rng))
    agreement = {"max_abs": 1e-5, "max_rel": 1e-4, "top1_agreement": 1.0}
    return {
        "candidate": _timing(law.baseline_ms * ratio),
        "baseline": _timing(law.baseline_ms),
        "latency_ratio": ratio,
        "latency_ratio_low": ratio / wide,
        "latency_ratio_high": ratio * wide,
        "is_distinguishable": abs(math.log(ratio)) > 1.96 * law.noise,
        "aa_ratio": math.exp(rng.gauss(0.0, law.noise / 3)),
        "is_gate_passed": True,
        "n_attempts": 1,
        "accuracy": {
            "candidate": _counts(n, n_baseline - n_lost + n_won),
            "baseline": _counts(n, n_baseline),
            "n_disagree_candidate_only": n_won,
            "n_disagree_baseline_only": n_lost,
        },
        "agreement": {"candidate": agreement, "baseline": agreement},
        "layers": [],
        "host": {
            "cpu_model": "made up",
            "n_cpus": 1,
            "load_1m": 0.0,
            "runtime": "simulated",
            "runtime_version": "1",
            "temperature_c": None,
        },
        "duration_s": 0.1,
    }


def _timing(p50_ms: float) -> dict[str, float]:
    more = {"sd_ms": 0.0, "n_runs": 200, "throughput_per_s": 1000.0 / p50_ms}
    return dict.fromkeys(_NAMES, p50_ms) | more


def _counts(n: int, n_correct: int) -> dict[str, int]:
    return {"n_images": n, "top1_correct": n_correct, "top5_correct": (n + n_correct) // 2}


def _binomial(n: int, p: float, rng: random.Random) -> int:
    return sum(rng.random() < p for _ in range(n))
