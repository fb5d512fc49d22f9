"""What runs on compute: plain functions of plain data, on any Dask worker.

Depends on: stillhouse_compression, distributed (for progress and cancellation). Never touches the
database: results and checkpoints go to the artifact store, progress and log to Dask's events, the
answer back to the driver.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import distributed
import torch

from stillhouse_benchmark.logs import about, trace_of
from stillhouse_compression.baseline import train_baseline
from stillhouse_compression.built import built_hash
from stillhouse_compression.compress import CompressionTask, compress
from stillhouse_compression.dry_run import dry_run
from stillhouse_compression.early_stop import EarlyStop, TrainingStopped
from stillhouse_compression.errors import Cancelled, CompressionError
from stillhouse_compression.hooks import Hooks, Progress
from stillhouse_compression.lock import HostLock
from stillhouse_compression.model_card import card_text
from stillhouse_compression.training import Recipe
from stillhouse_service import checkpoints
from stillhouse_service.artifacts import Artifact, ArtifactStore
from stillhouse_service.cluster import PROGRESS_TOPIC, Surroundings
from stillhouse_service.compute_log import log_as_told
from stillhouse_service.device_data import store_split
from stillhouse_service.errors import ArtifactTooLarge, ServiceError
from stillhouse_service.fidelity import JUDGED_ON
from stillhouse_service.stage_log import StageLog

_log = logging.getLogger(__name__)
_LOOK_S = 0.5  # between two looks for a cancellation
_STORE_REST_S = 2.0  # between two tries to write to a store that is full or gone
# Seeds and thread counts of torch belong to a process: a worker of several threads takes turns.
_ONE_AT_A_TIME = threading.Lock()


def dask_setup(_worker: object) -> None:
    """Log as the operator wishes; Dask calls this in every worker process that it starts."""
    log_as_told()


def run(kind: str, order: Mapping[str, Any], surroundings: Surroundings) -> dict[str, Any]:
    """Run one stage; whatever goes wrong is part of the answer.

    Args:
        kind: `train`, `compress`, `dry-run` or `sketch`.
        order: What the stage's row says.
        surroundings: Where it runs.

    Returns:
        `{"artifacts", "metrics", "details"}`, or `{"failure": {"stage", "failure_class",
        "reason", "log"}}`, or `{"is_cancelled": True}`, or `{"stopped": {"reason", "reachable",
        "history", "n_epochs", "saved_s"}}` of a training that was ended early.
    """
    with (
        about(
            lease=surroundings.attempt_id,
            stage=surroundings.stage_id,
            trace=trace_of(order.get("traceparent")),
        ),
        StageLog() as log,
        _Watch(surroundings, log) as watch,
    ):
        try:
            return _run(kind, order, surroundings, watch, log)
        except Cancelled:
            return {"is_cancelled": True}
        except TrainingStopped as stop:
            return {"stopped": {"reason": str(stop), **vars(stop)}}
        except MemoryError as error:
            return _failure(kind, "out-of-memory", error, log)
        except CompressionError as error:
            return _failure(kind, error.failure_class, error, log)
        except ArtifactTooLarge as error:
            return _failure(kind, "too-large", error, log)
        except (OSError, ServiceError) as error:
            _log.exception("%s: the artifact store failed", surroundings.attempt_id)
            return _failure(kind, "store", error, log)
        except Exception as error:
            # torch has no class for it on the CPU; on CUDA its class is a RuntimeError.
            is_memory = isinstance(error, RuntimeError) and "memory" in str(error).lower()
            if not is_memory:
                _log.exception("%s failed", surroundings.attempt_id)
            return _failure(kind, "out-of-memory" if is_memory else "internal", error, log)


def _run(
    kind: str,
    order: Mapping[str, Any],
    surroundings: Surroundings,
    watch: _Watch,
    log: StageLog,
) -> dict[str, Any]:
    while not _ONE_AT_A_TIME.acquire(timeout=_LOOK_S):
        watch.stop_if_cancelled()
    try:
        if surroundings.device == "cuda" and not torch.cuda.is_available():
            reason = (
                f"{distributed.get_worker().address} offers a GPU, but torch "
                f"{torch.__version__} sees none there"
            )
            return _failure(kind, "no-gpu", RuntimeError(reason), log)
        store = _PatientStore(surroundings, watch)
        place, stage_id = store.place, surroundings.stage_id
        with HostLock(surroundings.lock_folder) as lock:
            hooks = Hooks(
                watch.progress,
                watch.is_cancelled,
                lock,
                save_checkpoint=lambda state: checkpoints.save(place, stage_id, state),
                load_checkpoint=lambda: checkpoints.load(place, stage_id),
            )
            made = _KINDS[kind](order, store, hooks, surroundings)
        if kind not in ("dry-run", "sketch"):
            made["artifacts"]["log"] = vars(store.put(log.text().encode(), "text/plain"))
        return made
    finally:
        _ONE_AT_A_TIME.release()


def _failure(kind: str, failure_class: str, error: Exception, log: StageLog) -> dict[str, Any]:
    reason = str(error) or type(error).__name__
    failure = {"stage": kind, "failure_class": failure_class, "reason": reason, "log": log.tail()}
    return {"failure": failure}


class _Watch:
    """Tells progress, and looks whether the task is still wanted; neither too often."""

    def __init__(self, surroundings: Surroundings, log: StageLog) -> None:
        self._surroundings, self._log = surroundings, log
        self._worker: Any = distributed.get_worker()
        self._client: Any = distributed.get_client()
        self._told_at = float("-inf")
        self._is_cancelled, self._is_over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> _Watch:
        # Dask may run a task a second time by itself; another number tells.
        self._send({"run": uuid4().hex})
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        self._thread.join(timeout=_LOOK_S)

    def progress(self, progress: Progress) -> None:
        """Send progress, and the last lines of the log, to the driver through Dask's events."""
        self._log.tell(progress)
        now = time.monotonic()
        if now - self._told_at >= self._surroundings.progress_s:
            self._told_at = now
            self._send({"progress": {**progress, "log": self._log.tail()}})

    def is_cancelled(self) -> bool:
        """Tell whether the task was cancelled."""
        return self._is_cancelled.is_set()

    def stop_if_cancelled(self) -> None:
        """End the task if it was cancelled.

        Raises:
            Cancelled: It was.
        """
        if self.is_cancelled():
            raise Cancelled("cancelled")

    def _send(self, message: Mapping[str, Any]) -> None:
        about = {"attempt_id": self._surroundings.attempt_id, **message}
        self._worker.log_event(PROGRESS_TOPIC, about)

    def _look(self) -> None:
        """Ask the scheduler now and then: a cancellation outlives who asked for it."""
        while not self._is_over.wait(_LOOK_S):
            scheduler = self._client.scheduler
            if scheduler is None:
                return  # the client was closed: this worker ends
            try:
                is_set = self._client.sync(
                    scheduler.event_is_set,
                    name=self._surroundings.attempt_id,
                    callback_timeout=_STORE_REST_S,
                )
            except (OSError, TimeoutError, RuntimeError):
                continue  # the scheduler is away; this worker ends with it
            if is_set:
                self._is_cancelled.set()
                return


class _PatientStore(ArtifactStore):
    """Waits for a store that is full or gone: hours of training are not thrown away for it."""

    def __init__(self, surroundings: Surroundings, watch: _Watch) -> None:
        super().__init__(surroundings.store, surroundings.max_artifact_bytes)
        self._watch, self._patience_s = watch, surroundings.store_patience_s

    def put(
        self,
        content: bytes,
        media_type: str = "application/octet-stream",
        expected_sha256: str | None = None,
    ) -> Artifact:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return super().put(content, media_type, expected_sha256)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise
                self._watch.progress({"stage": "waiting for the artifact store", "why": str(error)})
                until = time.monotonic() + _STORE_REST_S
                while time.monotonic() < min(until, deadline):
                    self._watch.stop_if_cancelled()
                    time.sleep(_LOOK_S / 5)


def _train(
    order: Mapping[str, Any], store: ArtifactStore, hooks: Hooks, surroundings: Surroundings
) -> dict[str, Any]:
    """Train a baseline, and lay its data set out for device hosts."""
    trained = train_baseline(
        order["model"],
        order["dataset"],
        Recipe.from_mapping(order["recipe"], "recipe"),
        int(order["seed"]),
        hooks,
        surroundings.n_threads,
        surroundings.device,
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
        artifacts |= store_split(store, order["dataset"], split)
    details = {"layers": trained.layers, "history": trained.history, "card": trained.card}
    return _answer(artifacts, trained.metrics, details)


def _compress(
    order: Mapping[str, Any], store: ArtifactStore, hooks: Hooks, surroundings: Surroundings
) -> dict[str, Any]:
    """Compress a baseline by one trial's schedule."""
    kept = _Kept(order, store, hooks)
    made = compress(
        CompressionTask(
            model_name=order["model"],
            dataset_name=order["dataset"],
            weights=store.read(order["weights"]),
            schedule=order["schedule"],
            training=order["training"],
            seed=int(order["seed"]),
            n_threads=surroundings.n_threads,
            device=surroundings.device,
            engine=order.get("engine", "stillhouse"),
            early_stop=EarlyStop.from_mapping(rule) if (rule := order.get("early_stop")) else None,
        ),
        kept.hooks,
    )
    artifacts = {
        "schedule": store.put(made.schedule_yaml.encode(), "application/yaml"),
        "onnx": store.put(made.onnx),
        "weights": store.put(made.weights),
        "probe_outputs": store.put(made.probe_outputs, "application/x-npy"),
    }
    if (part := order.get(JUDGED_ON)) is not None:
        artifacts |= store_split(store, order["dataset"], "validation", part=part)
    if kept.last is not None:
        try:
            artifacts["checkpoint"] = store.put(kept.last)
        except ArtifactTooLarge as error:
            _log.warning("no checkpoint is kept, who goes on is trained anew: %s", error)
    details = {
        "schedule": order["schedule"],
        "training": order["training"],
        "sparsity": made.layers,
        "survival": made.survival,
        "history": made.history,
        "thinning": made.thinning,
        "warnings": made.warnings,
    }
    return _answer(artifacts, made.metrics, details) | {"built": built_hash(made.onnx)}


class _Kept:
    """The checkpoints of a training that others go on from, or that goes on from another's.

    Attributes:
        hooks: The task's, with these checkpoints.
        last: The last state that was saved, where somebody may want it.
    """

    def __init__(self, order: Mapping[str, Any], store: ArtifactStore, hooks: Hooks) -> None:
        self.last: bytes | None = None
        self._order, self._store, self._own = order, store, hooks
        self.hooks = replace(hooks, save_checkpoint=self._save, load_checkpoint=self._load)

    def _save(self, state: bytes) -> None:
        if self._order.get("keeps_checkpoint"):
            self.last = state
        if self._own.save_checkpoint is not None:
            self._own.save_checkpoint(state)

    def _load(self) -> bytes | None:
        # Its own first: a training that is handed out again has gone further.
        own = None if self._own.load_checkpoint is None else self._own.load_checkpoint()
        if own is None and self._order.get("checkpoint"):
            own = self._store.read(self._order["checkpoint"])
        if own is not None and self._order.get("keeps_checkpoint"):
            self.last = own
        return own


def _dry_run(
    order: Mapping[str, Any], store: ArtifactStore, hooks: Hooks, surroundings: Surroundings
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


def _sketch(
    order: Mapping[str, Any], store: ArtifactStore, hooks: Hooks, surroundings: Surroundings
) -> dict[str, Any]:
    """Make one trial's network without training it, for the device to time."""
    made = dry_run(
        CompressionTask(
            model_name=order["model"],
            dataset_name=order["dataset"],
            weights=store.read(order["weights"]),
            schedule=order["schedule"],
            training=order["training"],
            seed=int(order["seed"]),
        ),
        hooks,
    )
    artifacts = {
        "untrained": store.put(made.onnx),
        "untrained_outputs": store.put(made.probe_outputs, "application/x-npy"),
    }
    metrics = {"macs": made.macs, "params": made.params, "model_bytes": len(made.onnx)}
    details = {"is_decided": made.is_decided}
    return _answer(artifacts, metrics, details) | {"built": built_hash(made.onnx)}


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


_Kind = Callable[[Mapping[str, Any], ArtifactStore, Hooks, Surroundings], dict[str, Any]]
_KINDS: Mapping[str, _Kind] = {
    "train": _train,
    "compress": _compress,
    "dry-run": _dry_run,
    "sketch": _sketch,
}
