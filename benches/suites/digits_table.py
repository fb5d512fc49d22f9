"""Every trial of one small study of the digits, run once for real and kept: a table to replay.

Depends on: numpy; to run what is missing also torch and openvino, through the engines.

The network is ResNet-20. The space is finite and the table holds all of it, so a searcher's config
is looked up and never replaced by one that is near. A trial prunes the first convolutions of the
blocks of each stage, trains one short epoch, thins, exports to ONNX and is timed by OpenVINO in
turn with the dense network.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Config = Mapping[str, Any]

MODEL, DATASET = "resnet20_cifar", "digits"
# Levels of what is removed in each stage, and of the learning rate.
RANGES = {"stage1": (0, 2), "stage2": (0, 2), "stage3": (0, 2), "lr": (0, 1)}
SPARSITIES = (0.0, 0.4, 0.8)
LEARNING_RATES = (0.01, 0.05)
DENSE = {"stage1": 0, "stage2": 0, "stage3": 0, "lr": 0}
RECIPE = {"epochs": 5, "lr": 0.1, "batch_size": 32}
TRAINING = {"epochs": 1, "recovery_epochs": 0, "batch_size": 32, "effective_train_size": 0.2}
# Chosen before any trial ran: six of the 300 validation images.
BOUND = 0.02

# The same recipe and seed give the same bytes, so what is kept can be thrown away.
_KEPT = Path(__file__).parents[2] / "build" / "replay"


class DigitsTable:
    """The trials, by their configs."""

    def __init__(self, trials: Mapping[tuple[int, ...], Mapping[str, float]]) -> None:
        """Take trials of every config.

        Raises:
            SystemExit: some are missing; nothing stands in for them.
        """
        missing = [key for key in keys() if key not in trials]
        if missing:
            raise SystemExit(
                f"{len(missing)} of {len(keys())} trials are missing from the table, such as "
                f"{config_of(missing[0])}: run `make bench ONLY=replay`"
            )
        self._trials = dict(trials)

    @classmethod
    def read(cls, path: Path) -> DigitsTable:
        """Read a file that `run_missing` wrote."""
        return cls(_read(path))

    def parameters(self) -> list[dict[str, Any]]:
        """The search space as the optimiser's JSON."""
        return [
            {"name": name, "kind": "int", "low": low, "high": high, "default": DENSE[name]}
            for name, (low, high) in RANGES.items()
        ]

    def dense_config(self) -> dict[str, Any]:
        """The default: nothing removed."""
        return dict(DENSE)

    def random_config(self, rng: np.random.Generator) -> dict[str, Any]:
        """A config drawn uniformly from the space."""
        return {name: int(rng.integers(low, high + 1)) for name, (low, high) in RANGES.items()}

    def cheap_features(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
        """What each config leaves of the dense network: its shapes follow from the config."""
        rows = zip(*(np.asarray(columns[name]) for name in RANGES), strict=True)
        found = [self._trials[tuple(int(value) for value in row)] for row in rows]
        return {
            name: np.array([trial[name] for trial in found])
            for name in ("mac_share", "param_share")
        }

    def measure(self, config: Config) -> tuple[float, float]:
        """Latency ratio and accuracy drop as they were recorded."""
        trial = self._trials[tuple(config[name] for name in RANGES)]
        return trial["latency_ratio"], trial["top1_drop"]

    def lowest(self) -> float:
        """The lowest recorded latency ratio within the limit."""
        return min(t["latency_ratio"] for t in self._trials.values() if t["top1_drop"] <= BOUND)

    def feasible_share(self) -> float:
        """Share of the configs that keep the limit."""
        return float(np.mean([t["top1_drop"] <= BOUND for t in self._trials.values()]))


def keys() -> list[tuple[int, ...]]:
    """Every config of the space, as the values of ``RANGES`` in their order."""
    return list(itertools.product(*(range(low, high + 1) for low, high in RANGES.values())))


def run_missing(path: Path, seconds: float) -> int:
    """Run trials that the file lacks, for so long; returns how many are still missing."""
    from stillhouse_benchmark.errors import JobFailed
    from stillhouse_compression.compress import CompressionTask, compress

    until = time.monotonic() + seconds
    known = _read(path)
    # In an order of its own, so that what the machine does meanwhile favours no corner.
    order = np.random.default_rng(0).permutation(len(keys()))
    missing = [key for key in (keys()[i] for i in order) if key not in known]
    if not missing or seconds <= 0:
        return len(missing)
    weights, onnx, top1 = dense()
    for n_run, key in enumerate(missing):
        if time.monotonic() > until:
            return len(missing) - n_run
        config = config_of(key)
        schedule, training = schedule_of(config)
        made = compress(
            CompressionTask(MODEL, DATASET, weights, schedule, training, seed=0, n_threads=1)
        )
        try:
            ratio = _latency_ratio(made.onnx, onnx)
        except JobFailed as busy:
            print(f"{config}: {busy.reason}", file=sys.stderr)
            continue  # another run has another try
        trial = {
            "latency_ratio": round(ratio, 5),
            "top1_drop": round(top1 - made.metrics["validation_top1"], 6),
            "mac_share": round(made.metrics["macs"] / made.metrics["dense_macs"], 6),
            "param_share": round(made.metrics["params"] / made.metrics["dense_params"], 6),
        }
        with path.open("a") as file:
            file.write(json.dumps({"config": config, **trial}) + "\n")
    return len([key for key in keys() if key not in _read(path)])


def dense() -> tuple[bytes, bytes, float]:
    """Weights, ONNX bytes and validation accuracy of the dense network, trained once."""
    from stillhouse_compression.baseline import train_baseline
    from stillhouse_compression.training import Recipe

    kept = _KEPT / "weights.safetensors", _KEPT / "dense.onnx", _KEPT / "top1"
    if not kept[-1].exists():
        recipe = Recipe.from_mapping(RECIPE, "recipe")
        made = train_baseline(MODEL, DATASET, recipe, seed=0, n_threads=1)
        _KEPT.mkdir(parents=True, exist_ok=True)
        kept[0].write_bytes(made.weights)
        kept[1].write_bytes(made.onnx)
        kept[2].write_text(str(made.metrics["validation_top1"]))
    return kept[0].read_bytes(), kept[1].read_bytes(), float(kept[2].read_text())


def schedule_of(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """The trial's schedule and training settings."""
    pruners = {
        stage: {
            "class": "L1RankedStructureParameterPruner",
            "group_type": "Filters",
            "mask_batchnorm": True,
            "desired_sparsity": SPARSITIES[config[stage]],
            "weights": [f"layer{stage[-1]}.*.conv1.weight"],
        }
        for stage in ("stage1", "stage2", "stage3")
        if config[stage] > 0
    }
    policies = [{"pruner": {"instance_name": name}, "epochs": [0]} for name in pruners]
    training = {**TRAINING, "lr": LEARNING_RATES[config["lr"]]}
    return {"version": 1, "pruners": pruners, "policies": policies}, training


def _latency_ratio(candidate: bytes, dense: bytes) -> float:
    """Measured in turn on this machine's CPU.

    Raises:
        JobFailed: the host is too busy to be believed.
    """
    from stillhouse_benchmark.backends import load_backend
    from stillhouse_benchmark.interval import AGAIN, BASELINE, CANDIDATE
    from stillhouse_benchmark.protocol import JobSettings
    from stillhouse_benchmark.timing import Clocks, Infer, measure

    settings = JobSettings(target_interval=0.03, time_limit_s=1.2, n_compilations=1)
    backend = load_backend("openvino")
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.onnx" for name in (CANDIDATE, BASELINE)}
        paths[CANDIDATE].write_bytes(candidate)
        paths[BASELINE].write_bytes(dense)
        paths[AGAIN] = paths[BASELINE]

        def compile_networks() -> dict[str, Infer]:
            infers: dict[str, Infer] = {}
            for name, path in paths.items():
                network = backend.compile(path, "CPU", "f32", 1)
                network.write(np.zeros(network.input_shape, dtype=np.float32))
                infers[name] = network.infer
            return infers

        return measure(compile_networks, settings, Clocks()).estimate.ratio


def config_of(key: tuple[int, ...]) -> dict[str, int]:
    """A config by its values."""
    return dict(zip(RANGES, key, strict=True))


def _read(path: Path) -> dict[tuple[int, ...], dict[str, float]]:
    lines = path.read_text().splitlines() if path.exists() else []
    found = {}
    for entry in map(json.loads, lines):
        config = entry.pop("config")
        found[tuple(config[name] for name in RANGES)] = entry
    return found
