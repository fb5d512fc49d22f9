"""Where training and compression run: a Dask cluster, embedded or elsewhere.

Depends on: distributed. Hands out plain functions of plain data; the database, not Dask, gives out
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

import dask
import distributed

from stillhouse_service import tasks
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.errors import ComputeUnavailable
from stillhouse_service.settings import Settings

# distributed's public classes carry no types; this module is their one user.
_Client: Any = distributed.Client
_LocalCluster: Any = distributed.LocalCluster

_log = logging.getLogger(__name__)
_WORKER_TTL = "60s"  # a frozen worker is given up after this
_CLOSE_S = 5.0
_FLAG_KEPT_S = 24 * 3600.0
_CHECKPOINT_KEPT_S = 7 * 24 * 3600.0


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
        self._cluster: Any = None
        self._client: Any = None
        self._futures: dict[str, Any] = {}
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
        return None if self._client is None else str(self._client.scheduler.address)

    def n_free(self) -> int:
        """Count the stages that may be submitted now."""
        with self._lock:
            return self._settings.n_compute - len(self._futures) if self.is_offered else 0

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

    def submit(self, attempt_id: str, kind: str, order: Mapping[str, Any]) -> None:
        """Run a stage; its end is reported to `on_end`, always.

        Raises:
            ComputeUnavailable: There is no cluster, or it does not share the artifact store.
        """
        client = self._opened()
        future = client.submit(
            tasks.run,
            kind,
            dict(order),
            tasks.Surroundings(
                attempt_id=attempt_id,
                folder=str(self._artifacts.folder),
                lock_dir=self._settings.lock_dir,
                n_threads=self._settings.n_threads,
                progress_s=self._settings.progress_s,
            ),
            key=attempt_id,
            pure=False,
            retries=0,
        )
        with self._lock:
            self._futures[attempt_id] = future
        future.add_done_callback(lambda done: self._ended(attempt_id, done))

    def cancel(self, attempt_id: str) -> None:
        """Ask a running task to end; it looks before every minibatch."""
        tasks.flag_of(self._artifacts.folder, attempt_id).touch()

    def forget(self, attempt_id: str) -> None:
        """Drop what was kept of an attempt that has ended."""
        tasks.flag_of(self._artifacts.folder, attempt_id).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what ended attempts left: flags, and states of trainings nobody went on with."""
        long_ago = time.time() - _CHECKPOINT_KEPT_S
        for state in (self._artifacts.folder / "checkpoints").glob("*"):
            if state.stat().st_mtime < long_ago:
                state.unlink(missing_ok=True)
        long_ago = time.time() - _FLAG_KEPT_S
        for flag in tasks.flag_of(self._artifacts.folder, "any").parent.iterdir():
            if flag.stat().st_mtime < long_ago:
                flag.unlink(missing_ok=True)

    def close(self) -> None:
        """End everything that runs, and an embedded cluster with it."""
        with self._lock:
            futures, self._futures = self._futures, {}
        for attempt_id in futures:
            self.cancel(attempt_id)
        if self._client is not None:
            with suppress(TimeoutError, OSError):
                self._client.close(timeout=_CLOSE_S)
        if self._cluster is not None:
            with suppress(TimeoutError, OSError):
                self._cluster.close(timeout=_CLOSE_S)
        self._client = self._cluster = None

    def _opened(self) -> Any:
        """Start or reach the cluster, and make sure that it shares the artifact store."""
        if self._client is not None and self._client.status == "running":
            return self._client
        self.close()
        if self._settings.compute == "embedded":
            try:
                self._cluster = _embedded_cluster(self._settings)
            except (RuntimeError, OSError, TimeoutError) as error:
                raise ComputeUnavailable(f"no worker process starts: {error}") from error
            client = _Client(self._cluster, set_as_default=False)
        else:
            try:
                client = _Client(self._settings.compute, timeout="5s", set_as_default=False)
            except (OSError, TimeoutError, ValueError) as error:
                raise ComputeUnavailable(
                    f"no Dask scheduler answers at {self._settings.compute}: {error}"
                ) from error
        proof = self._artifacts.put(b"stillhouse: this store is shared\n", "text/plain")
        probe = client.submit(
            tasks.can_read, str(self._artifacts.folder), proof.sha256, pure=False, retries=0
        )
        try:
            is_shared = probe.result(timeout=60)
        except Exception as error:  # whatever a foreign worker raises
            client.close()
            raise ComputeUnavailable(f"the compute workers do not answer: {error}") from error
        if not is_shared:
            client.close()
            raise ComputeUnavailable(
                f"the compute workers do not see the artifact folder {self._artifacts.folder}: "
                "mount it there under the same path"
            )
        client.subscribe_topic(tasks.PROGRESS_TOPIC, self._progressed)
        self._client = client
        return client

    def _progressed(self, event: tuple[float, Mapping[str, Any]]) -> None:
        _, message = event
        self._on_progress(str(message["attempt_id"]), message["progress"])

    def _ended(self, attempt_id: str, future: Any) -> None:
        with self._lock:
            if self._futures.pop(attempt_id, None) is None:
                return  # closing: nobody wants to know
        if future.status == "finished":
            self._on_end(End(attempt_id, "returned", future.result()))
            return
        reason = "the compute cluster is gone"
        if future.status == "error":
            # tasks.run catches all of its own; what is left is Dask's: KilledWorker and its kin.
            reason = f"the compute worker died: {type(future.exception()).__name__}"
        self._on_end(End(attempt_id, "lost", {}, reason))


def _embedded_cluster(settings: Settings) -> Any:
    """Start worker processes on this machine that die with this one; each runs one stage."""
    threads: dict[str, str] = {
        name: str(settings.n_threads)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    }
    # Threads that wait for one another spin only briefly: with libgomp's default, two threads on a
    # busy two-core machine took ten times as long an image as one; sleeping at once
    # (OMP_WAIT_POLICY=PASSIVE) costs a half more on a quiet machine (ResNet-20, batch 32).
    threads["GOMP_SPINCOUNT"] = "10000"
    # Dask's own choice is one BLAS thread and a malloc setting that cost 1.7x the CPU time of a
    # training step. The process starts with this environment, before numpy is imported.
    dask.config.set(
        {
            "distributed.nanny.pre-spawn-environ": threads,
            "distributed.scheduler.worker-ttl": _WORKER_TTL,
            "distributed.admin.log-length": 1000,
        }
    )
    logging.getLogger("distributed").setLevel(logging.ERROR)  # it narrates every connection
    return _LocalCluster(
        n_workers=settings.n_compute,
        threads_per_worker=1,  # seeds and thread counts of torch belong to a process
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        memory_limit=0,
        silence_logs=logging.ERROR,
        # Its HTTP server cannot be left out; on port 0 it is in nobody's way.
        scheduler_kwargs={"allowed_failures": 0, "dashboard_address": "127.0.0.1:0"},
    )
