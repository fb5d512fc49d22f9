"""What is true of a made-up network on a made-up device: its latency, its accuracy, what breaks.

Depends on: the standard library. A law is a function of a plain schedule, the fine-tuning and the
network's shapes: latency falls in steps of whole groups of channels, as on real devices; accuracy
falls slowly, then quickly, at another point in each layer; how it is trained matters a little.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stillhouse_service.errors import Problem, SpecRejected

_FIXED = 0.2  # share of the baseline's latency that no pruning takes away
_STRUCTURED = {"Filters": 0, "Channels": 1, "3D": 0, "Rows": 0, "Cols": 1}  # group -> axis
_SPARSITIES = ("final_sparsity", "desired_sparsity", "sparsity")
_FINE = 0.5  # single weights hurt less than whole filters


@dataclass(frozen=True)
class Law:
    """A made-up world.

    Attributes:
        seed: Which one; layers differ from seed to seed.
        granularity: Channels that the device computes at once; between two multiples of it
            cutting channels changes nothing.
        noise: Standard deviation of a measured latency ratio, a fraction.
        n_images: Images that accuracy is counted on.
        baseline_ms: Latency of the baseline, p50.
        baseline_top1: Its accuracy, a fraction.
        p_unsupported: Share of the range of one layer's sparsity that the device cannot run.
        p_diverge: Probability that a trial's training diverges.
        p_crash: Probability that a device host dies with a job in its hand.
        p_hang: Probability that a job hangs until its time limit.
    """

    seed: int = 0
    granularity: int = 8
    noise: float = 0.02
    n_images: int = 1000
    baseline_ms: float = 2.0
    baseline_top1: float = 0.95
    p_unsupported: float = 0.0
    p_diverge: float = 0.0
    p_crash: float = 0.0
    p_hang: float = 0.0

    def __post_init__(self) -> None:
        problems = [
            Problem(name, f"must be {wanted}, got {getattr(self, name)!r}")
            for name, is_good, wanted in (
                ("granularity", self.granularity >= 1, "at least 1"),
                ("noise", 0 <= self.noise < 1, "from 0 to below 1"),
                ("n_images", self.n_images >= 10, "at least 10"),
                ("baseline_ms", self.baseline_ms > 0, "above 0"),
                ("baseline_top1", 0.5 <= self.baseline_top1 <= 1, "from 0.5 to 1"),
                *(
                    (name, 0 <= getattr(self, name) < 1, "from 0 to below 1")
                    for name in ("p_unsupported", "p_diverge", "p_crash", "p_hang")
                ),
            )
            if not is_good
        ]
        if problems:
            raise SpecRejected(problems)

    def chance(self, *what: object) -> float:
        """Draw a number in [0, 1) that belongs to `what`, always the same."""
        text = json.dumps([self.seed, *what])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56


@dataclass(frozen=True)
class Truth:
    """What is true of one network.

    Attributes:
        ratio: Its latency as a share of the baseline's.
        top1_drop: What it loses, a fraction; never below 0.
        params: Weights that are left.
        macs: Multiply-accumulates, by the same measure as the baseline's.
        unsupported: The layer that the device cannot run; none: it runs.
    """

    ratio: float
    top1_drop: float
    params: int
    macs: int
    unsupported: str | None

    def to_json(self) -> dict[str, Any]:
        """Write it as a network's made-up file holds it."""
        return asdict(self)

    def metrics(self, law: Law) -> dict[str, float]:
        """Give the metrics of docs/api.md without any noise."""
        p50_ms = law.baseline_ms * self.ratio
        return {
            "latency_ratio": self.ratio,
            "latency_p50_ms": p50_ms,
            "latency_p95_ms": p50_ms,
            "throughput_per_s": 1000.0 / p50_ms,
            "top1": law.baseline_top1 - self.top1_drop,
            "top5": 1.0 - (1.0 - law.baseline_top1 + self.top1_drop) / 2,
            "top1_drop": self.top1_drop,
            "model_bytes": 4.0 * self.params,
            "params": float(self.params),
            "macs": float(self.macs),
        }


def truth(
    law: Law,
    schedule: Mapping[str, Any],
    training: Mapping[str, Any],
    shapes: Mapping[str, Sequence[int]],
) -> Truth:
    """Say what is true of the network that a schedule makes.

    Args:
        law: The world.
        schedule: Plain, patterns of names written out; `{}` leaves the network as it is.
        training: The fine-tuning, plain.
        shapes: Of every parameter of the network, by name.
    """
    layers = {name: shape for name, shape in shapes.items() if len(shape) > 1}
    cut, thin = _sparsities(schedule, layers)
    lost = 0.0
    costs, whole_costs = [], []  # equal for an untouched network, and so are their exact sums
    params = macs = 0
    for name, shape in layers.items():
        size = math.prod(shape)
        weight = math.sqrt(size)  # early layers are small and work on large images
        axis, sparsity = cut.get(name, (0, 0.0))
        n = shape[axis]
        kept = n - math.floor(sparsity * n)
        whole = min(n, law.granularity * math.ceil(kept / law.granularity))
        costs.append(weight * (whole / n))
        whole_costs.append(weight)
        share = kept / n * (1.0 - thin.get(name, 0.0))
        params += round(size * share)
        macs += round(1000 * weight * kept / n)
        lost += _lost(law, name, sparsity) + _FINE * _lost(law, name, thin.get(name, 0.0))
    n_layers = max(1, len(layers))
    drop = lost / n_layers
    if schedule:
        drop += _trained_badly(law, training)
    return Truth(
        ratio=_FIXED + (1.0 - _FIXED) * (math.fsum(costs) / (math.fsum(whole_costs) or 1.0)),
        top1_drop=min(drop, law.baseline_top1 - 0.1),
        params=params,
        macs=macs,
        unsupported=_unsupported(law, cut),
    )


def _sparsities(
    schedule: Mapping[str, Any], layers: Mapping[str, Sequence[int]]
) -> tuple[dict[str, tuple[int, float]], dict[str, float]]:
    """Read off which layers lose filters or channels, and which single weights, and how many."""
    cut: dict[str, tuple[int, float]] = {}
    thin: dict[str, float] = {}
    used = {
        policy["pruner"]["instance_name"]
        for policy in schedule.get("policies", ())
        if "pruner" in policy
    }
    for instance, pruner in schedule.get("pruners", {}).items():
        sparsity = next((pruner[key] for key in _SPARSITIES if key in pruner), None)
        if instance not in used or not isinstance(sparsity, int | float):
            continue
        axis = _STRUCTURED.get(str(pruner.get("group_type")))
        for name in pruner.get("weights", ()):
            if name not in layers:
                continue
            if axis is None or axis >= len(layers[name]):
                thin[name] = max(thin.get(name, 0.0), float(sparsity))
            elif float(sparsity) >= cut.get(name, (axis, 0.0))[1]:
                cut[name] = axis, float(sparsity)
    return cut, thin


def _lost(law: Law, layer: str, sparsity: float) -> float:
    """Say what a layer's sparsity costs: little up to a point of its own, much beyond."""
    knee = 0.45 + 0.4 * law.chance("knee", layer)
    slope = 0.03 + 0.06 * law.chance("slope", layer)
    return slope * sparsity**2 + 2.0 * max(0.0, sparsity - knee) ** 2


def _trained_badly(law: Law, training: Mapping[str, Any]) -> float:
    lr = training.get("lr")
    n_epochs = float(training.get("epochs", 1)) + float(training.get("recovery_epochs", 0))
    lost = 0.006 / (1.0 + n_epochs)
    if isinstance(lr, int | float) and lr > 0:
        best = -2.2 + 0.8 * law.chance("lr")
        lost += 0.004 * (math.log10(lr) - best) ** 2
    return lost


def _unsupported(law: Law, cut: Mapping[str, tuple[int, float]]) -> str | None:
    """One layer of those that are cut may become too narrow for the device."""
    if not cut or law.p_unsupported == 0:
        return None
    narrow = min(cut, key=lambda name: law.chance("narrow", name))
    return narrow if cut[narrow][1] > 1.0 - law.p_unsupported else None
