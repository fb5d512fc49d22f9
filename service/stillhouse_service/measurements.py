"""A device's raw report as metrics of docs/api.md.

Depends on: stillhouse_optimizer.bounds. The host counts and times; accuracy, drop and their bounds
are worked out here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_service.tables import MeasurementRow


def metrics_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Work out a candidate's metrics.

    Args:
        result: `Result` of docs/protocol.md as JSON, already validated.

    Returns:
        Times in ms, fractions in [0, 1]; `top1_drop` is the baseline's top1 on the same images
        minus the candidate's, below 0 when the candidate is better; `top1_low`, `top5_low` and
        `top1_drop_high` bound the truth behind them, one-sided, 90 %; `aa_ratio`, the baseline
        against itself, tells how quiet the host was. Of a probe the times alone.
    """
    timing = result["candidate"]
    times = {
        "latency_p50_ms": timing["p50_ms"],
        "latency_p95_ms": timing["p95_ms"],
        "throughput_per_s": timing["throughput_per_s"],
        "latency_ratio": result["latency_ratio"],
        "latency_ratio_low": result["latency_ratio_low"],
        "latency_ratio_high": result["latency_ratio_high"],
        "aa_ratio": result["aa_ratio"],
    }
    if result["accuracy"] is None:
        return times
    # On use: it loads scipy. The driver has done so long before the first measurement.
    from stillhouse_optimizer.bounds import PairedCounts, share_lower_bound

    candidate, baseline = result["accuracy"]["candidate"], result["accuracy"]["baseline"]
    n_images = candidate["n_images"]
    metrics = {
        **times,
        "top1": candidate["top1_correct"] / n_images,
        "top1_low": share_lower_bound(candidate["top1_correct"], n_images),
        "top5": candidate["top5_correct"] / n_images,
        "top5_low": share_lower_bound(candidate["top5_correct"], n_images),
        # Of the same images, so one division: 6 of 300 lost are 0.02, not 0.0200000000000000018.
        "top1_drop": (baseline["top1_correct"] - candidate["top1_correct"]) / n_images,
    }
    n_lost = result["accuracy"]["n_disagree_baseline_only"]
    n_won = result["accuracy"]["n_disagree_candidate_only"]
    # Counts that contradict one another bound nothing: the trial is then never certain.
    is_paired = n_lost - n_won == baseline["top1_correct"] - candidate["top1_correct"]
    if is_paired and n_lost + n_won <= n_images:
        metrics["top1_drop_high"] = PairedCounts(n_images, n_lost, n_won).upper_bound()
    return metrics


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


def n_images_of(measured: Sequence[MeasurementRow]) -> int | None:
    """Count the validation images behind a trial's accuracy; none: it has not been judged."""
    counts = [
        int(row.result["accuracy"]["candidate"]["n_images"])
        for row in measured
        if row.split == "validation" and row.result.get("accuracy")
    ]
    return counts[-1] if counts else None
