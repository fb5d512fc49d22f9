"""What runs on compute: plain functions of plain data, on any Dask worker.

Depends on: stillhouse_compression, distributed (for progress). Never touches the database: results
go to the artifact store, progress to Dask's events, the answer back to the driver.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import get_worker

from stillhouse_compression.baseline import train_baseline
from stillhouse_compression.compress import CompressionTask, compress
from stillhouse_compression.dry_run import dry_run
from stillhouse_compression.errors import Cancelled, CompressionError
from stillhouse_compression.hooks import Hooks, Progress
from stillhouse_compression.lock import HostLock
from stillhouse_compression.model_card import card_text
from stillhouse_compression.training import Recipe
from stillhouse_service.artifacts import Artifact, ArtifactStore
from stillhouse_service.device_data import store_split
from stillhouse_service.errors import ServiceError

_log = logging.getLogger(__name__)
PROGRESS_TOPIC = "stillhouse-progress"
_LOOK_S = 0.2  # shortest time between two looks for a cancellation


@dataclass(frozen=True)
class Surroundings:
    """Where a task runs and whom it tells.

    Attributes:
        attempt_id: The attempt it is.
        folder: The artifact store's.
        lock_dir: The host lock's; empty for the default one.
        n_threads: Threads of torch's kernels; none leaves them to the worker's environment.
        progress_s: Shortest time between two progress reports.
    """

    attempt_id: str
    folder: str
    lock_dir: str
    n_threads: int | None
    progress_s: float


def can_read(folder: str, sha256: str) -> bool:
    """Tell whether this worker sees the server's artifact store."""
    path = Path(folder) / sha256[:2] / sha256
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def flag_of(folder: Path, attempt_id: str) -> Path:
    """Name the file whose existence cancels an attempt; every worker sees the store's folder."""
    flags = folder / "cancelled"
    flags.mkdir(parents=True, exist_ok=True)
    return flags / attempt_id


def run(kind: str, order: Mapping[str, Any], surroundings: Surroundings) -> dict[str, Any]:
    """Run one stage; whatever goes wrong is part of the answer.

    Args:
        kind: `train`, `compress` or `dry-run`.
        order: What the stage's row says.
        surroundings: Where it runs.

    Returns:
        `{"artifacts", "metrics", "details"}`, or `{"failure": {"stage", "failure_class",
        "reason"}}`, or `{"is_cancelled": True}`.
    """
    watch = _Watch(surroundings)
    store = ArtifactStore(Path(surroundings.folder))
    try:
        with HostLock(Path(surroundings.lock_dir) if surroundings.lock_dir else None) as lock:
            hooks = Hooks(watch.progress, watch.is_cancelled, lock)
            return _KINDS[kind](order, store, hooks, surroundings.n_threads)
    except Cancelled:
        return {"is_cancelled": True}
    except MemoryError as error:
        return _failure(kind, "out-of-memory", error)
    except CompressionError as error:
        return _failure(kind, error.failure_class, error)
    except (OSError, ServiceError) as error:
        _log.exception("%s: the artifact store failed", surroundings.attempt_id)
        return _failure(kind, "store", error)
    except Exception as error:
        # torch has no class for it on the CPU; on CUDA its class is a RuntimeError.
        is_memory = isinstance(error, RuntimeError) and "memory" in str(error).lower()
        if not is_memory:
            _log.exception("%s failed", surroundings.attempt_id)
        return _failure(kind, "out-of-memory" if is_memory else "internal", error)


def _failure(kind: str, failure_class: str, error: Exception) -> dict[str, Any]:
    reason = str(error) or type(error).__name__
    return {"failure": {"stage": kind, "failure_class": failure_class, "reason": reason}}


class _Watch:
    """Tells progress, and looks whether the task is still wanted; neither too often."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._flag = flag_of(Path(surroundings.folder), surroundings.attempt_id)
        self._told_at = self._looked_at = float("-inf")
        self._is_cancelled = False

    def progress(self, progress: Progress) -> None:
        """Send progress to the driver through Dask's events."""
        now = time.monotonic()
        if now - self._told_at >= self._surroundings.progress_s:
            self._told_at = now
            message = {"attempt_id": self._surroundings.attempt_id, "progress": dict(progress)}
            get_worker().log_event(PROGRESS_TOPIC, message)

    def is_cancelled(self) -> bool:
        """Look for the flag file; between two looks, remember."""
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            self._is_cancelled = self._flag.exists()
        return self._is_cancelled


def _train(
    order: Mapping[str, Any], store: ArtifactStore, hooks: Hooks, n_threads: int | None
) -> dict[str, Any]:
    """Train a baseline, and lay its data set out for device hosts.

    A training whose worker was killed goes on after its last whole epoch: every worker sees the
    store's folder.
    """
    name = hashlib.sha256(json.dumps(dict(order), sort_keys=True).encode()).hexdigest()
    checkpoint = store.folder / "checkpoints" / f"{name}.pt"
    trained = train_baseline(
        order["model"],
        order["dataset"],
        Recipe.from_mapping(order["recipe"], "recipe"),
        int(order["seed"]),
        hooks,
        n_threads,
        checkpoint=checkpoint,
    )
    card = json.dumps(trained.card, indent=2)
    artifacts = {
        "weights": store.put(trained.weights),
        "onnx": store.put(trained.onnx),
        "probe_inputs": store.put(trained.probe_inputs, "application/x-npy"),
        "probe_outputs": store.put(trained.probe_outputs, "application/x-npy"),
        "card": store.put(card.encode(), "application/json"),
        "card_text": store.put(card_text(trained.card).encode(), "text/markdown"),
    }
    for split in ("validation", "test"):
        manifest, parts = store_split(store, order["dataset"], split)
        artifacts[f"data_{split}"] = manifest
        artifacts |= {f"data_{split}_{i}": part for i, part in enumerate(parts)}
    checkpoint.unlink(missing_ok=True)
    details = {"layers": trained.layers, "history": trained.history, "card": trained.card}
    return _answer(artifacts, trained.metrics, details)


def _compress(
    order: Mapping[str, Any], store: ArtifactStore, hooks: Hooks, n_threads: int | None
) -> dict[str, Any]:
    """Compress a baseline by one trial's schedule."""
    made = compress(
        CompressionTask(
            model_name=order["model"],
            dataset_name=order["dataset"],
            weights=store.read(order["weights"]),
            schedule=order["schedule"],
            training=order["training"],
            seed=int(order["seed"]),
            n_threads=n_threads,
            engine=order.get("engine", "stillhouse"),
        ),
        hooks,
    )
    artifacts = {
        "schedule": store.put(made.schedule_yaml.encode(), "application/yaml"),
        "onnx": store.put(made.onnx),
        "weights": store.put(made.weights),
        "probe_outputs": store.put(made.probe_outputs, "application/x-npy"),
    }
    details = {
        "schedule": order["schedule"],
        "training": order["training"],
        "sparsity": made.layers,
        "survival": made.survival,
        "history": made.history,
        "thinning": made.thinning,
        "warnings": made.warnings,
    }
    return _answer(artifacts, made.metrics, details)


def _dry_run(
    order: Mapping[str, Any], store: ArtifactStore, hooks: Hooks, n_threads: int | None
) -> dict[str, Any]:
    """Make the networks of a template's extremes without training them."""
    weights = store.read(order["weights"])
    artifacts: dict[str, Artifact] = {}
    found: list[dict[str, Any]] = []
    for one in order["networks"]:
        about = {"name": one["name"], "config": one["config"]}
        task = CompressionTask(
            model_name=order["model"],
            dataset_name=order["dataset"],
            weights=weights,
            schedule=one["schedule"],
            training=one["training"],
            seed=int(order["seed"]),
        )
        try:
            made = dry_run(task, hooks)
        except Cancelled:
            raise
        except CompressionError as error:
            found.append(about | {"reason": str(error)})
            continue
        artifacts[one["name"]] = store.put(made.onnx)
        macs = {"macs": made.macs, "dense_macs": made.dense_macs, "is_decided": made.is_decided}
        found.append(about | macs)
    return _answer(artifacts, {}, {"networks": found})


def _answer(
    artifacts: Mapping[str, Artifact], metrics: Mapping[str, float], details: Mapping[str, Any]
) -> dict[str, Any]:
    stored = {
        name: {
            "sha256": artifact.sha256,
            "n_bytes": artifact.n_bytes,
            "media_type": artifact.media_type,
        }
        for name, artifact in artifacts.items()
    }
    return {"artifacts": stored, "metrics": dict(metrics), "details": dict(details)}


_Kind = Callable[[Mapping[str, Any], ArtifactStore, Hooks, int | None], dict[str, Any]]
_KINDS: Mapping[str, _Kind] = {"train": _train, "compress": _compress, "dry-run": _dry_run}
