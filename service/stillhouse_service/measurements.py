"""A device's raw report as metrics of docs/api.md.

Depends on: the standard library. The host counts and times; accuracy and drop are worked out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def metrics_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Work out a candidate's metrics.

    Args:
        result: `Result` of docs/protocol.md as JSON, already validated.

    Returns:
        Times in ms, fractions in [0, 1]; `top1_drop` is the baseline's top1 on the same images
        minus the candidate's, below 0 when the candidate is better; `aa_ratio`, the baseline
        against itself, tells how quiet the host was.
    """
    timing = result["candidate"]
    candidate, baseline = result["accuracy"]["candidate"], result["accuracy"]["baseline"]
    top1 = candidate["top1_correct"] / candidate["n_images"]
    return {
        "latency_p50_ms": timing["p50_ms"],
        "latency_p95_ms": timing["p95_ms"],
        "throughput_per_s": timing["throughput_per_s"],
        "latency_ratio": result["latency_ratio"],
        "latency_ratio_low": result["latency_ratio_low"],
        "latency_ratio_high": result["latency_ratio_high"],
        "aa_ratio": result["aa_ratio"],
        "top1": top1,
        "top5": candidate["top5_correct"] / candidate["n_images"],
        "top1_drop": baseline["top1_correct"] / baseline["n_images"] - top1,
    }


def of_baseline(result: Mapping[str, Any]) -> dict[str, float]:
    """Work out the baseline's own figures in a job, on the split the job was of."""
    timing, counts = result["baseline"], result["accuracy"]["baseline"]
    return {
        "p50_ms": timing["p50_ms"],
        "p95_ms": timing["p95_ms"],
        "p25_ms": timing["p25_ms"],
        "throughput_per_s": timing["throughput_per_s"],
        "validation_top1": counts["top1_correct"] / counts["n_images"],
        "validation_top5": counts["top5_correct"] / counts["n_images"],
        "n_images": counts["n_images"],
    }
