"""Where training and compression run: a Dask cluster, embedded or elsewhere.

Depends on: cluster. Hands out plain functions of plain data; the database, not Dask, gives out
attempts, so Dask itself never runs anything twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.cluster import GPU, Cluster, Surroundings, Worker, run_stage
from stillhouse_service.errors import ComputeUnavailable
from stillhouse_service.settings import Settings

_log = logging.getLogger(__name__)
_LOOK_S = 1.0  # between two looks at the workers
_OBEYS_S = 30.0  # a task that was cancelled and runs on for longer is ended with its worker
_FETCH_S = 30.0  # until the answer of a task that has ended is here


@dataclass(frozen=True)
class End:
    """How an attempt on compute ended.

    Attributes:
        attempt_id: Which.
        kind: `returned`, or `lost` when its worker or the cluster is gone.
        answer: What the task returned (see `tasks.run`).
        reason: Why it is lost.
    """

    attempt_id: str
    kind: Literal["returned", "lost"]
    answer: Mapping[str, Any]
    reason: str = ""


class Compute:
    """A Dask cluster that runs stages; starts with the first of them.

    `on_end` and `on_progress` are called in threads of Dask's and must be quick.
    """

    def __init__(
        self,
        settings: Settings,
        artifacts: ArtifactStore,
        on_end: Callable[[End], None],
        on_progress: Callable[[str, Mapping[str, Any]], None],
    ) -> None:
        self._settings = settings
        self._artifacts = artifacts
        self._on_end = on_end
        self._on_progress = on_progress
        self._cluster: Cluster | None = None
        self._workers: list[Worker] = []
        self._looked_at = float("-inf")
        self._futures: dict[str, Any] = {}
        self._runs: dict[str, str] = {}  # attempt -> number of the run that has begun it
        self._cancelled_at: dict[str, float] = {}
        self._unwanted: set[str] = set()  # of the server before, on a cluster not yet reached
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Who holds the attempts, for the log."""
        return f"compute {self._settings.compute}"

    @property
    def is_offered(self) -> bool:
        """Whether this server computes at all."""
        return self._settings.compute != "none"

    @property
    def scheduler_address(self) -> str | None:
        """Where the scheduler in use listens; none before the first stage."""
        return None if self._cluster is None else self._cluster.address

    @property
    def n_slots(self) -> int:
        """How many stages it can run at once."""
        if not self.is_offered:
            return 0
        if self._settings.n_compute == 0 and self._settings.compute != "embedded":
            return max(1, self.n_workers)
        return self._settings.n_slots

    @property
    def n_workers(self) -> int:
        """How many workers were alive at the last look; none before the first stage."""
        return sum(not worker.is_silent for worker in self._workers)

    def n_free(self) -> int:
        """Count the stages that may be submitted now."""
        with self._lock:
            return max(0, self.n_slots - len(self._futures))

    def running(self) -> list[str]:
        """Name the attempts submitted and not yet ended."""
        with self._lock:
            return list(self._futures)

    def open(self) -> None:
        """Start or reach the cluster.

        Raises:
            ComputeUnavailable: There is no cluster, or it does not share the artifact store.
        """
        self._opened()

    def missing(self, resources: Mapping[str, float]) -> str | None:
        """Say what no live worker offers; none: one does.

        Args:
            resources: What a stage needs, by Dask's names.
        """
        live = [worker for worker in self._workers if not worker.is_silent]
        if not live:
            return f"no live worker is connected to {self._settings.compute}"
        if any(_offers(worker, resources) for worker in live):
            return None
        wanted = ", ".join(f"{name}={amount:g}" for name, amount in sorted(resources.items()))
        return (
            f"no compute worker offers {wanted}: start one with "
            f"`stillhouse compute-worker SCHEDULER --resources '{wanted.replace(', ', ' ')}'`"
        )

    def submit(
        self,
        attempt_id: str,
        stage_id: str,
        kind: str,
        order: Mapping[str, Any],
    ) -> None:
        """Run a stage; its end is reported to `on_end`, always.

        Raises:
            ComputeUnavailable: There is no cluster, or it does not share the artifact store.
        """
        cluster = self._opened()
        settings, resources = self._settings, needs_of(kind, order)
        surroundings = Surroundings(
            attempt_id=attempt_id,
            stage_id=stage_id,
            store=self._artifacts.address,
            max_artifact_bytes=settings.max_artifact_bytes,
            store_patience_s=settings.store_patience_s,
            lock_dir=settings.lock_dir,
            n_threads=settings.n_threads,
            progress_s=settings.progress_s,
            device="cuda" if resources.get(GPU) else "cpu",
        )
        future = cluster.submit(
            attempt_id, run_stage, kind, dict(order), surroundings, resources=resources
        )
        with self._lock:
            self._futures[attempt_id] = future
        future.add_done_callback(lambda done: self._ended(attempt_id, done))

    def cancel(self, attempt_id: str) -> None:
        """Ask a running task to end; it looks before every minibatch."""
        if self._cluster is None:
            self._unwanted.add(attempt_id)
        else:
            self._cancelled_at.setdefault(attempt_id, time.monotonic())
            self._cluster.cancel(attempt_id)

    def forget(self, attempt_id: str) -> None:
        """Drop what was kept of an attempt that has ended."""
        self._runs.pop(attempt_id, None)
        self._cancelled_at.pop(attempt_id, None)
        if self._cluster is not None:
            with suppress(ComputeUnavailable):
                self._cluster.forget(attempt_id)

    def look(self) -> None:
        """Look at the workers: what runs on one that has fallen silent is lost.

        Raises:
            ComputeUnavailable: The scheduler does not answer.
        """
        now = time.monotonic()
        if self._cluster is None or now - self._looked_at < _LOOK_S:
            return
        if not self._cluster.is_open:
            for attempt_id in self.running():
                self._give_up(attempt_id, "the compute cluster is gone")
            return  # the next stage reaches it again
        self._looked_at = now
        if self._cluster.is_deserted:
            _log.warning("no embedded compute worker is left: the next stage starts another")
            for attempt_id in self.running():
                self._give_up(attempt_id, "the embedded compute worker is gone")
            self.close()
            return
        self._workers = self._cluster.workers()
        for worker in self._workers:
            if self._cluster.is_restarting(worker.address):
                continue
            if worker.is_silent:
                why = f"has been silent for {self._settings.frozen_s:g} s"
            elif self._is_deaf(worker, now):
                why = f"did not end a cancelled task within {_OBEYS_S:g} s"
            else:
                continue
            _log.warning("compute worker %s %s: it is started again", worker.address, why)
            for attempt_id in worker.running:
                self._give_up(attempt_id, f"the compute worker {worker.address} {why}")
            self._cluster.restart(worker.address)

    def _is_deaf(self, worker: Worker, now: float) -> bool:
        """Tell whether all that a worker runs was cancelled long ago."""
        since = [self._cancelled_at.get(key, now) for key in worker.running]
        return bool(since) and now - max(since) > _OBEYS_S

    def close(self) -> None:
        """End everything that runs, and an embedded cluster with it."""
        with self._lock:
            futures, self._futures = self._futures, {}
        if self._cluster is None:
            return
        with suppress(ComputeUnavailable):
            for attempt_id in futures:
                self.cancel(attempt_id)
        self._cluster.close()
        self._cluster, self._workers = None, []

    def _opened(self) -> Cluster:
        """Start or reach the cluster, and make sure that it shares the artifact store."""
        if self._cluster is not None and self._cluster.is_open:
            return self._cluster
        self.close()
        cluster = Cluster(self._settings, self._heard)
        try:
            for attempt_id in self._unwanted:  # before the proof: they may hold every worker
                cluster.cancel(attempt_id)
            cluster.prove_shared(self._artifacts.place)
            self._workers = cluster.workers()
        except BaseException:
            cluster.close()
            raise
        self._unwanted.clear()
        self._cluster = cluster
        return cluster

    def _heard(self, message: Mapping[str, Any]) -> None:
        attempt_id = str(message["attempt_id"])
        if "progress" in message:
            self._on_progress(attempt_id, message["progress"])
        elif self._runs.setdefault(attempt_id, message["run"]) != message["run"]:
            # A scheduler that is not ours may run the task of a dead worker again by itself.
            self._give_up(attempt_id, "its compute worker died, and Dask began it anew")

    def _give_up(self, attempt_id: str, reason: str) -> None:
        """Report an attempt as lost whose end Dask will not, or must not, report."""
        self._report(End(attempt_id, "lost", {}, reason))

    def _ended(self, attempt_id: str, future: Any) -> None:
        self._report(_end_of(attempt_id, future))

    def _report(self, end: End) -> None:
        """Report an end once; at no moment is an attempt neither running nor reported."""
        with self._lock:
            future = self._futures.pop(end.attempt_id, None)
            if future is None:
                return  # closing, or reported already: nobody wants to know
            self._on_end(end)
        future.release()


def _end_of(attempt_id: str, future: Any) -> End:
    """Tell how a task ended whose future is done."""
    reason = "the compute cluster is gone"
    try:
        if future.status == "finished":
            return End(attempt_id, "returned", future.result(timeout=_FETCH_S))
        if future.status == "error":
            # tasks.run catches all of its own; what is left is Dask's: KilledWorker and its kin.
            died_of = type(future.exception(timeout=_FETCH_S)).__name__
            reason = f"the compute worker died: {died_of}"
    except Exception as error:  # whatever Dask raises: an attempt without an end would never end
        reason = f"its answer could not be fetched: {type(error).__name__}: {error}"
        _log.warning("%s: %s", attempt_id, reason)
    return End(attempt_id, "lost", {}, reason)


def needs_of(kind: str, order: Mapping[str, Any]) -> dict[str, float]:
    """Read off a stage what its worker must offer; what trains nothing needs nothing."""
    is_training = kind not in ("dry-run", "sketch")
    wanted: Mapping[str, float] = (order.get("resources") or {}) if is_training else {}
    return {name: float(amount) for name, amount in wanted.items()}


def _offers(worker: Worker, resources: Mapping[str, float]) -> bool:
    return all(worker.resources.get(name, 0.0) >= amount for name, amount in resources.items())
