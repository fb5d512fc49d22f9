"""Validation accuracy after every epoch of every config of the digits table, recorded for real.

Depends on: digits_table; to run what is missing also torch, through the engines.

One training of nine short epochs a config at a constant learning rate: pruned in the first, thinned
after it. So the curve up to epoch k is what a training of k epochs gives, and a training that is
taken up again from its checkpoint goes on along the same curve.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from suites.digits_table import (
    DATASET,
    MODEL,
    RANGES,
    config_of,
    dense,
    keys,
    schedule_of,
)

N_EPOCHS = 9
TRAINING = {
    "epochs": 1,
    "recovery_epochs": N_EPOCHS - 1,
    "lr_schedule": "constant",
    "recalibrate_batchnorm": False,
}
Key = tuple[int, ...]


def run_missing(path: Path, seconds: float) -> int:
    """Train what the file lacks, for so long; returns how many curves are still missing."""
    from stillhouse_compression.compress import CompressionTask, compress

    until = time.monotonic() + seconds
    known = read(path)
    # In an order of its own, so that a part of the file is a sample of all; the learning rate whose
    # half of the space is replayed comes first.
    order = np.random.default_rng(1).permutation(len(keys()))
    wanted = sorted((keys()[i] for i in order), key=lambda key: key[-1])
    missing = [key for key in wanted if key not in known]
    if not missing or seconds <= 0:
        return len(missing)
    weights, _, top1 = dense()
    for n_run, key in enumerate(missing):
        if time.monotonic() > until:
            return len(missing) - n_run
        schedule, training = schedule_of(config_of(key))
        made = compress(
            CompressionTask(
                MODEL, DATASET, weights, schedule, training | TRAINING, seed=0, n_threads=1
            )
        )
        curve = [round(float(row["validation_top1"]), 6) for row in made.history]
        line = {"config": config_of(key), "dense_top1": round(top1, 6), "top1": curve}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
    return 0


def read(path: Path) -> dict[Key, Sequence[float]]:
    """Config -> validation top1 after each epoch."""
    return {_key(line): line["top1"] for line in _lines(path)}


def dense_top1(path: Path) -> float:
    """What the dense network reaches on the same images."""
    return float(_lines(path)[0]["dense_top1"])


def _lines(path: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _key(line: Mapping[str, Any]) -> Key:
    return tuple(line["config"][name] for name in RANGES)
