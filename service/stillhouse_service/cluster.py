"""A Dask cluster as compute sees it: reached or started, its workers, what they offer.

Depends on: distributed, which is imported when a cluster is wanted.
"""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from stillhouse_service.artifact_places import Place, place_of
from stillhouse_service.certificates import proved_until
from stillhouse_service.errors import ComputeUnavailable
from stillhouse_service.settings import Settings

PROGRESS_TOPIC = "stillhouse-progress"
# Before a worker joins: while it imports torch it can show no life.
PRELOAD = ["stillhouse_service.tasks"]
GPU = "GPU"  # the resource whose holder trains on CUDA
_log = logging.getLogger(__name__)
_CONNECT_S = 5.0
_PROOF_S = 60.0  # until the first worker has answered
_PROOF_REST_S = 1.0  # then for the others
_ANSWER_S = 10.0  # of a scheduler to a question
_CLOSE_S = 5.0
_RESTART_S = 30.0
_START_S = 180.0  # of an embedded worker, which imports torch, on a machine that is busy


@dataclass(frozen=True)
class Surroundings:
    """Where a task runs and whom it tells.

    Attributes:
        attempt_id: The attempt it is.
        stage_id: Its stage; names the checkpoint.
        store: The artifact store's folder or URL.
        max_artifact_bytes: Largest artifact.
        store_patience_s: How long a finished task waits for a store that is full or gone.
        lock_dir: The host lock's; empty for the default one.
        n_threads: Threads of torch's kernels.
        progress_s: Shortest time between two progress reports.
        device: torch's name of it, `cpu` or `cuda`.
    """

    attempt_id: str
    stage_id: str
    store: str
    max_artifact_bytes: int
    store_patience_s: float
    lock_dir: str
    n_threads: int
    progress_s: float
    device: str = "cpu"

    @property
    def lock_folder(self) -> Path | None:
        """The host lock's folder; none for the default one."""
        return Path(self.lock_dir) if self.lock_dir else None


@dataclass(frozen=True)
class Worker:
    """A process that computes.

    Attributes:
        address: Where it listens; another one after every start.
        resources: What it offers, as Dask has it: `{"GPU": 1, "GPU_MEMORY": 24e9}`.
        running: Keys of the tasks that it was given.
        is_silent: Whether it has not shown any life for `frozen_s`.
    """

    address: str
    resources: Mapping[str, float]
    running: Sequence[str]
    is_silent: bool


class Cluster:
    """A connection to a Dask cluster.

    Args:
        settings: `compute` says which one.
        on_event: Called with every message of `PROGRESS_TOPIC`, in a thread of Dask's.

    Raises:
        ComputeUnavailable: There is no cluster.
    """

    def __init__(self, settings: Settings, on_event: Callable[[Mapping[str, Any]], None]) -> None:
        import distributed

        self._settings = settings
        self._local: Any = None
        self._seen: dict[str, tuple[float, float]] = {}  # address -> its own clock, ours
        self._restarting: set[str] = set()
        # distributed's public classes carry no types; this module is their one user.
        client_class: Any = distributed.Client
        if settings.compute == "embedded":
            self._local = _embedded(settings)
            self._client: Any = client_class(self._local, set_as_default=False)
        else:
            try:
                self._client = client_class(
                    settings.compute,
                    timeout=_CONNECT_S,
                    set_as_default=False,
                    security=_security(settings),
                )
            except (OSError, TimeoutError, ValueError) as error:
                raise ComputeUnavailable(
                    f"no Dask scheduler answers at {settings.compute}: {error}"
                ) from error
        self._client.subscribe_topic(PROGRESS_TOPIC, lambda event: on_event(event[1]))

    @property
    def is_open(self) -> bool:
        """Whether the scheduler is there."""
        return bool(self._client.status == "running")

    @property
    def is_deserted(self) -> bool:
        """Whether the worker processes of an embedded cluster are gone and none comes back.

        What watches over them starts each again, unless that fails too (no memory, a full disk).
        """
        if self._local is None:
            return False
        nannies = self._local.workers.values()
        return all(str(nanny.status.name) in ("closed", "failed") for nanny in nannies)

    @property
    def address(self) -> str:
        """Where the scheduler listens."""
        return str(self._client.scheduler.address)

    def submit(
        self,
        key: str,
        function: Callable[..., Any],
        *arguments: Any,
        resources: Mapping[str, float],
    ) -> Any:
        """Run a function on a worker that offers `resources`; gives Dask's future."""
        return self._client.submit(
            function,
            *arguments,
            key=key,
            pure=False,
            retries=0,
            resources=dict(resources) or None,
        )

    def cancel(self, key: str) -> None:
        """Raise the flag that a running task looks at; the scheduler keeps it."""
        self._ask("event_set", name=key)

    def forget(self, key: str) -> None:
        """Take the flag down."""
        self._ask("event_clear", name=key)

    def workers(self) -> list[Worker]:
        """List the workers.

        A worker's signs of life are counted by our own clock, which only goes forward: neither a
        clock that jumps nor one that differs makes a worker silent.

        Raises:
            ComputeUnavailable: The scheduler does not answer.
        """
        known: Mapping[str, Any] = self._ask("identity", n_workers=-1)["workers"]
        running: Mapping[str, Sequence[str]] = self._ask("processing", workers=None)
        now = time.monotonic()
        seen = {}
        for address, about in known.items():
            clock, since = self._seen.get(address, (None, now))
            seen[address] = (about["last_seen"], now if clock != about["last_seen"] else since)
        self._seen = seen
        return [
            Worker(
                address,
                dict(about["resources"]),
                [str(key) for key in running.get(address, ())],
                now - seen[address][1] > self._settings.frozen_s,
            )
            for address, about in known.items()
        ]

    def versions(self) -> dict[str, dict[str, str]]:
        """Ask the scheduler and each worker for the versions that a result depends on.

        Raises:
            ComputeUnavailable: One of them does not answer, or has no Stillhouse.
        """
        try:
            found = {"scheduler": self._client.run_on_scheduler(versions)}
            return found | dict(self._client.run(versions))
        except Exception as error:  # whatever a foreign process raises, unpickling included
            raise ComputeUnavailable(
                f"{self._settings.compute} cannot tell its versions: {error!r}"
            ) from error

    def is_restarting(self, address: str) -> bool:
        """Tell whether a worker is on its way out."""
        return address in self._restarting

    def restart(self, address: str) -> None:
        """End a worker that has fallen silent, and start it again where its nanny can."""
        self._restarting.add(address)

        def restart() -> None:
            try:
                self._client.restart_workers([address], timeout=_RESTART_S, raise_for_error=False)
            except (OSError, TimeoutError, ValueError) as error:
                _log.warning("compute worker %s could not be restarted: %s", address, error)
            finally:
                self._restarting.discard(address)

        # It may take half a minute; the driver goes on.
        threading.Thread(target=restart, name="restart", daemon=True).start()

    def prove_shared(self, place: Place) -> None:
        """Let the workers read what we write, and read what they write.

        One must answer; others may be busy just now, and nobody waits for them.

        Args:
            place: The artifact store's.

        Raises:
            ComputeUnavailable: There is no worker, or one that does not see the store.
        """
        import distributed

        addresses = list(self._ask("identity", n_workers=-1)["workers"])
        if not addresses:
            raise ComputeUnavailable(f"no worker is connected to {self._settings.compute}")
        name = f"proofs/{uuid4().hex}"
        try:
            place.write(name, b"ours\n")
        except OSError as error:
            raise ComputeUnavailable(
                f"the artifact store {place.address} cannot be written: {error}"
            ) from error
        asked = {
            self._client.submit(
                answer_proof, place.address, name, workers=[address], pure=False, retries=0
            ): address
            for address in addresses
        }
        wait: Any = distributed.wait
        try:
            with self._client.as_current():
                wait(list(asked), timeout=_PROOF_S, return_when="FIRST_COMPLETED")
                with suppress(TimeoutError):
                    wait(list(asked), timeout=_PROOF_REST_S)
            for future, address in asked.items():
                if future.done():
                    _check_proof(future, address, place)
        except TimeoutError:
            raise ComputeUnavailable(
                f"no compute worker of {self._settings.compute} has answered for {_PROOF_S:g} s"
            ) from None
        finally:
            for future in asked:
                future.release()
            with suppress(OSError):
                place.remove(name)

    def close(self) -> None:
        """End the connection, and an embedded cluster with it."""
        with suppress(TimeoutError, OSError):
            self._client.close(timeout=_CLOSE_S)
        if self._local is not None:
            with suppress(TimeoutError, OSError):
                self._local.close(timeout=_CLOSE_S)

    def _ask(self, what: str, **about: Any) -> Any:
        try:
            asked = getattr(self._client.scheduler, what)
            return self._client.sync(asked, callback_timeout=_ANSWER_S, **about)
        except (OSError, TimeoutError, RuntimeError) as error:
            raise ComputeUnavailable(
                f"the Dask scheduler of {self._settings.compute} does not answer: {error}"
            ) from error


def run_stage(kind: str, order: Mapping[str, Any], surroundings: Surroundings) -> dict[str, Any]:
    """Run `tasks.run`, on a worker.

    Dask's scheduler reads every task, and would stand still while it imported torch for that.
    """
    from stillhouse_service import tasks

    return tasks.run(kind, order, surroundings)


def versions() -> dict[str, str]:
    """Name the versions that a result depends on; torch is not imported for that."""
    return {name: version(name) for name in ("stillhouse", "torch")}


def answer_proof(address: str, name: str) -> str | None:
    """Write beside what the server wrote, on a worker; none: it is not there."""
    place = place_of(address)
    try:
        if place.read(name) != b"ours\n":
            return None
    except FileNotFoundError:
        return None
    answer = f"{name}-{uuid4().hex}"
    place.write(answer, b"theirs\n")
    return answer


def _check_proof(future: Any, address: str, place: Place) -> None:
    try:
        answer = future.result()
    except Exception as error:  # whatever a foreign worker raises
        raise ComputeUnavailable(
            f"the compute worker {address} cannot be used: {type(error).__name__}: {error}"
        ) from error
    try:
        is_shared = answer is not None and place.read(answer) == b"theirs\n"
    except FileNotFoundError:
        is_shared = False
    if not is_shared:
        raise ComputeUnavailable(
            f"the compute worker {address} does not see the artifact store {place.address}: "
            "mount the folder there under the same path, or name a store by its URL"
        )
    place.remove(answer)


def worker_environment(n_threads: int) -> dict[str, str]:
    """Say with which environment a process that trains is to start.

    Dask's own choice is one BLAS thread and a malloc setting that cost 1.7x the CPU time of a
    training step.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    # Threads that wait for one another spin only briefly: with libgomp's default, two threads on a
    # busy two-core machine took ten times as long an image as one; sleeping at once
    # (OMP_WAIT_POLICY=PASSIVE) costs a half more on a quiet machine (ResNet-20, batch 32).
    return dict.fromkeys(names, str(n_threads)) | {"GOMP_SPINCOUNT": "10000"}


def _security(settings: Settings) -> Any:
    """Give the certificates of a `tls://` cluster; none: it is not one.

    Raises:
        ComputeUnavailable: They are good for nothing; Dask would only say that nobody answers.
    """
    if not settings.compute.startswith("tls://"):
        return None
    proved_until(settings.compute_ca, settings.compute_cert, settings.compute_key)
    import distributed

    security: Any = distributed.Security
    return security(
        tls_ca_file=settings.compute_ca,
        tls_client_cert=settings.compute_cert,
        tls_client_key=settings.compute_key,
        require_encryption=True,
    )


def _embedded(settings: Settings) -> Any:
    """Start worker processes on this machine that die with this one; each runs one stage.

    Raises:
        ComputeUnavailable: One did not start, or not in time.
    """
    import dask
    import distributed

    # Set before a worker starts: the process has this environment before numpy is imported.
    dask.config.set(
        {
            "distributed.nanny.pre-spawn-environ": worker_environment(settings.n_threads)
            | {
                "STILLHOUSE_LOG_FORMAT": settings.log_format,
                "STILLHOUSE_LOG_LEVEL": settings.log_level,
            },
            "distributed.admin.log-length": 1000,
            # By default Dask gives up a worker that takes 15 s to start again, as it may with torch
            # to import on a busy machine, and never starts another.
            "distributed.deploy.lost-worker-timeout": "1d",
        }
    )
    logging.getLogger("distributed").setLevel(logging.ERROR)  # it narrates every connection
    local_cluster: Any = distributed.LocalCluster
    there_before = multiprocessing.active_children()
    try:
        return local_cluster(
            n_workers=settings.n_slots,
            threads_per_worker=1,  # seeds and thread counts of torch belong to a process
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            silence_logs=logging.ERROR,
            resources=settings.embedded_resources or None,
            preload=PRELOAD,
            # By default a worker process that hangs while it starts is waited for for good.
            death_timeout=_START_S,
            # Its HTTP server cannot be left out; on port 0 it is in nobody's way.
            scheduler_kwargs={"allowed_failures": 0, "dashboard_address": "127.0.0.1:0"},
        )
    # Dask fails an assertion of its own when it ends a worker that has not come up in time, and
    # leaves the process there.
    except (RuntimeError, OSError, TimeoutError, AssertionError) as error:
        for child in multiprocessing.active_children():
            if child not in there_before:
                child.kill()
        is_late = isinstance(error, TimeoutError | AssertionError)
        why = f"none has answered for {_START_S:g} s" if is_late else str(error)
        raise ComputeUnavailable(f"no worker process starts: {why}") from error
