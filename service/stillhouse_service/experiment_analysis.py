"""Stage 1c: what a sweep says of algorithms, layers, zeros and cuts; and what it cannot say.

Depends on: numpy. A pure function of the rows of experiment_results.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillhouse_service.experiment_conclusions import WORTH, Gain, conclusions

Row = Mapping[str, Any]
Array = NDArray[np.float64]

_UNCUT = 0.999  # of the baseline's MACs: nothing was removed
_MASKED = 0.1  # share of zeros from which a network counts as masked
_N_RESAMPLED = 1000
_SHARES = {
    "mac_share": "MACs left",
    "param_share": "parameters left",
    "nonzero_share": "weights left",
}


def analyse(trials: Sequence[Row], layers: Sequence[Row]) -> dict[str, Any]:
    """Compare an experiment's trials with the baseline, end to end and layer by layer.

    Args:
        trials: Rows of `Results.trials`, of one network and one device.
        layers: Rows of `Results.layers` of the same.

    Returns:
        JSON: `noise`, `algorithms`, `kinds` (masked, removed), `layers`, `groups` (layers by
        type, size, position), `variance`, `correlations`, `conclusions`. Ratios are candidate to
        baseline; an interval is 95 %; what too few trials say is null.
    """
    measured = [row for row in trials if row["latency_ratio"] is not None]
    pruned = [row for row in measured if not _is_unchanged(row)]
    found: dict[str, Any] = {
        "n_trials": len(trials),
        "n_measured": len(measured),
        "n_failed": sum(row["state"] in ("failed", "unsupported") for row in trials),
        "noise": _noise(measured),
        "algorithms": _algorithms(trials),
        "kinds": {
            "masked": _group([row for row in pruned if _is_masked(row)]),
            "removed": _group([row for row in pruned if _is_cut(row)]),
        },
        "layers": _layers(measured, layers),
        "groups": _groups_of_layers(layers),
        "variance": _variance(pruned),
        "correlations": _correlations(pruned),
    }
    return found | {"conclusions": conclusions(found)}


def is_faster(row: Row) -> bool:
    """Whether a trial was measurably faster: its whole interval is below 1."""
    return bool(row.get("is_distinguishable")) and row["latency_ratio_high"] < 1.0


def gain(rows: Sequence[Row]) -> Gain | None:
    """Say whether any of these trials made the network faster.

    Returns:
        `yes`: one was measurably faster. `no`: every interval rules a gain of 2 % out. `open`:
        neither, the intervals are too wide to tell. None: there are no trials.
    """
    if not rows:
        return None
    if any(is_faster(row) for row in rows):
        return "yes"
    is_ruled_out = all(row["latency_ratio_low"] >= 1.0 - WORTH for row in rows)
    return "no" if is_ruled_out else "open"


def _is_unchanged(row: Row) -> bool:
    return bool(row["algorithm"] == "none")


def _is_cut(row: Row) -> bool:
    return row["mac_share"] is not None and row["mac_share"] < _UNCUT


def _is_masked(row: Row) -> bool:
    is_whole = row["mac_share"] is not None and not _is_cut(row)
    return is_whole and (row["zero_share"] or 0.0) >= _MASKED


def _noise(measured: Sequence[Row]) -> dict[str, Any]:
    """How well this device tells two networks apart."""
    aa = _column(measured, "aa_ratio")
    widths = [row["latency_ratio_high"] - row["latency_ratio_low"] for row in measured]
    controls = [row for row in measured if _is_unchanged(row)]
    return {
        "n": len(measured),
        "aa_deviation": float(np.median(np.abs(aa - 1.0))) if len(aa) else None,
        "interval_width": float(np.median(widths)) if widths else None,
        "unchanged": [
            {
                "ratio": row["latency_ratio"],
                "low": row["latency_ratio_low"],
                "high": row["latency_ratio_high"],
                "is_distinguishable": row["is_distinguishable"],
            }
            for row in controls
        ],
    }


def _algorithms(trials: Sequence[Row]) -> list[dict[str, Any]]:
    rows = []
    for name in dict.fromkeys(row["algorithm"] for row in trials):
        own = [row for row in trials if row["algorithm"] == name]
        measured = [row for row in own if row["latency_ratio"] is not None]
        kept = [row for row in measured if row["is_feasible"] and is_faster(row)]
        best = min(kept, key=lambda row: float(row["latency_ratio"]), default=None)
        rows.append(
            {
                "algorithm": name,
                "domain": own[0]["domain"],
                "is_control": own[0]["is_control"],
                "n": len(own),
                "n_failed": sum(row["state"] in ("failed", "unsupported") for row in own),
                "n_feasible": sum(bool(row["is_feasible"]) for row in measured),
                "n_faster": sum(is_faster(row) for row in measured),
                **_group(measured),
                "median_drop": _median(measured, "top1_drop"),
                "best": None
                if best is None
                else {
                    "case": best["case"],
                    "ratio": best["latency_ratio"],
                    "low": best["latency_ratio_low"],
                    "high": best["latency_ratio_high"],
                    "top1_drop": best["top1_drop"],
                },
            }
        )
    return rows


def _group(rows: Sequence[Row]) -> dict[str, Any]:
    """Summarise trials: geometric mean of their ratios with its interval, and the best."""
    ratios = _column(rows, "latency_ratio")
    mean, low, high = _mean_ratio(ratios, _spreads(rows))
    return {
        "n_measured": len(ratios),
        "n_faster": sum(is_faster(row) for row in rows),
        "mean_ratio": mean,
        "mean_low": low,
        "mean_high": high,
        "least_ratio": float(ratios.min()) if len(ratios) else None,
        "median_ratio": float(np.median(ratios)) if len(ratios) else None,
    }


def _spreads(rows: Sequence[Row]) -> Array:
    """Standard deviation of each trial's own log ratio, from its 95 % interval."""
    ends = [
        (row["latency_ratio_low"], row["latency_ratio_high"])
        for row in rows
        if row["latency_ratio"] is not None
    ]
    return np.array([math.log(high / low) / (2 * 1.96) for low, high in ends])


def _mean_ratio(
    ratios: Array, spreads: Array | None = None
) -> tuple[float | None, float | None, float | None]:
    """Geometric mean with a bootstrapped 95 % interval, of three or more.

    Few noisy trials that agree by chance must not look sure: each draw of a trial is shaken by
    what is unsure about it. What noise there is counts twice then, so the interval is no
    narrower than it should be.
    """
    if not len(ratios):
        return None, None, None
    logs = np.log(ratios)
    mean = float(np.exp(logs.mean()))
    if len(logs) < 3:
        return mean, None, None
    random = np.random.default_rng(0)
    drawn = random.integers(len(logs), size=(_N_RESAMPLED, len(logs)))
    draws = logs[drawn]
    if spreads is not None:
        draws = draws + spreads[drawn] * random.standard_normal(drawn.shape)
    low, high = np.quantile(np.exp(draws.mean(axis=1)), (0.025, 0.975))
    return mean, float(low), float(high)


def _layers(trials: Sequence[Row], layers: Sequence[Row]) -> list[dict[str, Any]]:
    """Each layer: what it costs, what cutting it gained, and whether it is worth compressing."""
    alone: dict[str, list[Row]] = {}
    for row in trials:
        if row["scope"] == "layer" and not row["is_control"] and _is_cut(row):
            alone.setdefault(row["layers"].partition("+")[0], []).append(row)
    total: dict[str, float] = {}
    for row in layers:
        total[row["trial"]] = total.get(row["trial"], 0.0) + (row["baseline_ms"] or 0.0)
    found = []
    for name in dict.fromkeys(row["layer"] for row in layers if row["dense_weights"]):
        own = [row for row in layers if row["layer"] == name]
        shares = [
            row["baseline_ms"] / total[row["trial"]]
            for row in own
            if row["baseline_ms"] and total[row["trial"]]
        ]
        tried = alone.get(name, [])
        best = min(tried, key=lambda row: float(row["latency_ratio"]), default=None)
        first = own[0]
        found.append(
            {
                **{k: first[k] for k in ("layer", "type", "position", "dense_weights")},
                **{k: first[k] for k in ("dense_macs", "filters", "channels")},
                "time_share": float(np.median(shares)) if shares else None,
                "cut": _times([row for row in own if _layer_is_cut(row)]),
                "masked": _times([row for row in own if _layer_is_masked(row)]),
                "alone_n": len(tried),
                "alone_ratio": None if best is None else best["latency_ratio"],
                "alone_low": None if best is None else best["latency_ratio_low"],
                "alone_high": None if best is None else best["latency_ratio_high"],
                "gain": gain(tried),
            }
        )
    return found


def _layer_is_cut(row: Row) -> bool:
    return row["mac_share"] is not None and row["mac_share"] < _UNCUT


def _layer_is_masked(row: Row) -> bool:
    is_whole = row["mac_share"] is not None and not _layer_is_cut(row)
    return is_whole and (row["zero_share"] or 0.0) >= _MASKED


def _times(rows: Sequence[Row]) -> dict[str, Any]:
    """Time of layers beside the baseline's, in the runtime's profile."""
    ratios = np.array(
        [
            r["candidate_ms"] / r["baseline_ms"]
            for r in rows
            if r["candidate_ms"] and r["baseline_ms"]
        ]
    )
    mean, low, high = _mean_ratio(ratios)
    return {"n": len(ratios), "ratio": mean, "low": low, "high": high}


def _groups_of_layers(layers: Sequence[Row]) -> list[dict[str, Any]]:
    """Layers by type, size and position: what their own time became, cut and masked."""
    known = [row for row in layers if row["dense_weights"] and row["algorithm"] != "none"]
    found = []
    for title, of_row in _groupings(known):
        labels = [of_row(row) for row in known]
        for label in sorted(set(labels)):
            own = [row for row, one in zip(known, labels, strict=True) if one == label]
            found.append(
                {
                    "by": title,
                    "group": label,
                    "n_layers": len({row["layer"] for row in own}),
                    "cut": _times([row for row in own if _layer_is_cut(row)]),
                    "masked": _times([row for row in own if _layer_is_masked(row)]),
                }
            )
    return found


def _groupings(rows: Sequence[Row]) -> Iterator[tuple[str, Callable[[Row], str]]]:
    yield "type", lambda row: str(row["type"])
    yield "algorithm", lambda row: str(row["algorithm"])
    titles = {
        "dense_weights": "weights",
        "dense_macs": "MACs",
        "filters": "filters",
        "position": "position",
    }
    for key, title in titles.items():
        values = sorted({float(row[key]) for row in rows if row[key] is not None})
        if len(values) < 3:
            continue
        first, second = np.quantile(values, (1 / 3, 2 / 3))

        def third(row: Row, key: str = key, cuts: tuple[float, float] = (first, second)) -> str:
            value = float(row[key] or 0.0)
            number = sum(value > cut for cut in cuts)
            words = (
                ("1 early", "2 middle", "3 late")
                if key == "position"
                else (
                    "1 small",
                    "2 middle",
                    "3 large",
                )
            )
            return words[number]

        yield title, third


def _variance(pruned: Sequence[Row]) -> list[dict[str, Any]]:
    """Share of the variance of log ratios between the groups of one factor (eta squared).

    Source: Fisher 1925; groups differ in size and overlap, so shares do not add up to one.
    """
    if len(pruned) < 3:
        return []
    logs = np.log(_column(pruned, "latency_ratio"))
    total = float(((logs - logs.mean()) ** 2).sum())
    found = []
    for factor in ("domain", "algorithm", "layers", "level"):
        groups: dict[Any, list[float]] = {}
        for row, log in zip(pruned, logs, strict=True):
            groups.setdefault(row[factor], []).append(float(log))
        between = sum(len(g) * (np.mean(g) - logs.mean()) ** 2 for g in groups.values())
        if 1 < len(groups) < len(pruned) and total > 0:
            found.append(
                {"factor": factor, "n_groups": len(groups), "share": float(between / total)}
            )
    return found


def _correlations(pruned: Sequence[Row]) -> list[dict[str, Any]]:
    """Rank correlations of what is left of a network with its latency ratio."""
    rows = [
        {**row, "nonzero_share": 1.0 - (row["removed_share"] or 0.0) - (row["zero_share"] or 0.0)}
        for row in pruned
    ]
    subsets = {
        "all": rows,
        "removed": [row for row in rows if _is_cut(row)],
        "masked": [row for row in rows if _is_masked(row)],
    }
    found = []
    for name, subset in subsets.items():
        for key, label in _SHARES.items():
            pairs = [(r[key], r["latency_ratio"]) for r in subset if r[key] is not None]
            rho, low, high = _spearman(np.array(pairs, dtype=float).reshape(-1, 2))
            found.append(
                {"trials": name, "n": len(pairs), "of": key, "label": label}
                | {"rho": rho, "low": low, "high": high}
            )
    return found


def _spearman(pairs: Array) -> tuple[float | None, float | None, float | None]:
    """Spearman's rank correlation with Fisher's 95 % interval; null where nothing varies."""
    n = len(pairs)
    if n < 5 or any(np.ptp(pairs[:, column]) < 1e-9 for column in (0, 1)):
        return None, None, None
    first, second = (ranks - ranks.mean() for ranks in map(_ranks, pairs.T))
    rho = float(first @ second) / math.sqrt(float(first @ first) * float(second @ second))
    z, half = math.atanh(min(max(rho, -0.9999), 0.9999)), 1.96 * 1.03 / math.sqrt(n - 3)
    return rho, math.tanh(z - half), math.tanh(z + half)


def _ranks(values: Array) -> Array:
    """Ranks from 1; ties share their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts).astype(float)
    ranks: Array = (last - (counts - 1) / 2)[inverse]
    return ranks


def _column(rows: Sequence[Row], name: str) -> Array:
    return np.array([row[name] for row in rows if row[name] is not None], dtype=float)


def _median(rows: Sequence[Row], name: str) -> float | None:
    values = _column(rows, name)
    return float(np.median(values)) if len(values) else None
