"""One device's life: lease a job, fetch its files, run it in a child, deliver, and again.

Depends on: the standard library. A bad job never ends it.
"""

from __future__ import annotations

import json
import logging
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from stillhouse_benchmark.cache import Cache
from stillhouse_benchmark.errors import (
    BenchmarkError,
    CacheError,
    JobFailed,
    LeaseLost,
    ProtocolError,
    ServerError,
    ServerUnreachable,
    UnknownWorker,
    UpgradeRequired,
    WrongContent,
)
from stillhouse_benchmark.heartbeat import Heartbeat
from stillhouse_benchmark.logs import about, trace_of
from stillhouse_benchmark.protocol import (
    CheckJob,
    CheckResult,
    DataManifest,
    Failure,
    File,
    Job,
    Lease,
    Result,
)
from stillhouse_benchmark.quarantine import Quarantine
from stillhouse_benchmark.session import Backoff, Session, until_reached
from stillhouse_benchmark.supervise import InferenceChild, Limits, Stopped

log = logging.getLogger("stillhouse.worker")
LEASE_WAIT_S = 20.0
MAX_CRASHES = 2


@dataclass(frozen=True)
class Settings:
    """How a device's loop works.

    Attributes:
        runtime: As ``load_backend`` takes it.
        lock_folder: Of the host lock.
        cache_folder: Of files and of the baselines' accuracy.
        silence_s: A child that says nothing for so long hangs.
        lease_wait_s: Length of a long poll.
        max_failures: Device failures in a row until the device must pass a self-test.
        reset_command: Run before a self-test.
    """

    runtime: str
    lock_folder: Path
    cache_folder: Path
    silence_s: float = 300.0
    lease_wait_s: float = LEASE_WAIT_S
    max_failures: int = 3
    reset_command: str | None = None


class DeviceLoop:
    """Serves one device until told to stop.

    Args:
        device: Its name.
        session: With the server.
        cache: Of files.
        settings: The rest.
        stop: Set from outside to end the loop; a running job is handed back.
    """

    def __init__(
        self,
        device: str,
        session: Session,
        cache: Cache,
        settings: Settings,
        stop: threading.Event,
    ) -> None:
        self.device = device
        self._session = session
        self._client = session.client
        self._cache = cache
        self._settings = settings
        self._stop = stop
        self._backoff = Backoff(stop.wait)
        self._child: InferenceChild | None = None
        self._quarantine = Quarantine(
            device, settings.runtime, settings.max_failures, settings.reset_command, stop.wait
        )

    def serve(self, max_jobs: int | None = None) -> None:
        """Serve jobs until stopped, or ``max_jobs`` of them.

        Raises:
            UpgradeRequired: the server no longer speaks our protocol version.
            ServerError: the server refuses us, for example the token.
        """
        n_jobs = 0
        try:
            self._spare_child()
            while not self._stop.is_set() and (max_jobs is None or n_jobs < max_jobs):
                if self._quarantine.is_needed:
                    self._drop_child()  # it may hold the device
                    if not self._quarantine.sit_out():
                        break
                lease = self._next_lease()
                if lease is not None:
                    self._do(lease)
                    n_jobs += 1
        finally:
            self._drop_child()

    def _next_lease(self) -> Lease | None:
        """Wait for a job for one long poll."""
        try:
            registered = self._session.registered()
            device_id = registered.device_ids.get(self.device)
            if device_id is None:
                raise ServerError(f"the server gave device {self.device} no id")
            lease = self._client.lease(registered.id, device_id, self._settings.lease_wait_s)
        except UnknownWorker:
            log.info("the server does not know us: registering again")
            self._session.forget(registered)
            return None
        except (ServerUnreachable, LeaseLost, ProtocolError) as error:
            log.warning("no lease: %s; trying again", error)
            self._backoff.fail()
            return None
        self._backoff.succeed()
        return lease

    def _do(self, lease: Lease) -> None:
        """One job, to whatever end; every line of the log names its lease."""
        trace = trace_of(lease.traceparent)
        with about(lease=lease.id, job=lease.job.id, device=self.device, trace=trace):
            self._do_job(lease)

    def _do_job(self, lease: Lease) -> None:
        job = lease.job
        log.info("job %s: %s on %s", job.id, job.kind, self.device)
        with Heartbeat(self._client, lease, self._session.registered().heartbeat_s) as heartbeat:

            def is_stopped() -> bool:
                return self._stop.is_set() or heartbeat.is_given_up

            try:
                outcome: Result | CheckResult | Failure = self._outcome(job, heartbeat, is_stopped)
            except Stopped:
                if not heartbeat.is_given_up:
                    log.info("job %s: handed back", job.id)
                    self._send("release", lambda: self._client.release(lease))
                return
            except JobFailed as failed:
                outcome = Failure(
                    failed.failure_class, failed.stage, failed.reason or "unknown", failed.layers
                )
            except Exception as error:
                log.exception("job %s: our own error", job.id)
                outcome = Failure("internal", "worker", f"{type(error).__name__}: {error}")
            if isinstance(outcome, Failure):
                failure = outcome
                self._quarantine.tell(failure.failure_class)
                log.warning(
                    "job %s: %s at %s: %s",
                    job.id,
                    failure.failure_class,
                    failure.stage,
                    failure.reason,
                )
                self._send("failure", lambda: self._client.failure(lease, failure))
            elif isinstance(outcome, CheckResult):
                checked = outcome
                log.info("job %s: %d networks compiled", job.id, len(checked.networks))
                self._send("check", lambda: self._client.checked(lease, checked))
            else:
                result = outcome
                self._quarantine.tell(None)
                log.info("job %s: ratio %.3f", job.id, result.latency_ratio)
                self._send("result", lambda: self._client.result(lease, result))

    def _outcome(
        self, job: Job | CheckJob, heartbeat: Heartbeat, is_stopped: Callable[[], bool]
    ) -> Result | CheckResult:
        # A check asks a compiler, which may be here without its device.
        if isinstance(job, Job) and job.device != self.device:
            raise JobFailed(
                "internal", "lease", f"the job is for {job.device}, this is {self.device}"
            )
        files = self._fetch(job, is_stopped)
        with tempfile.TemporaryDirectory(prefix="stillhouse-job-") as work_folder:
            errand = {
                "job": job.to_json(),
                "files": {sha: str(path) for sha, path in files.items()},
                "work_folder": work_folder,
                "rank_folder": str(self._settings.cache_folder / "ranks"),
                "lock_folder": str(self._settings.lock_folder),
            }
            return self._run(job, errand, heartbeat, is_stopped)

    def _run(
        self,
        job: Job | CheckJob,
        errand: dict[str, object],
        heartbeat: Heartbeat,
        is_stopped: Callable[[], bool],
    ) -> Result | CheckResult:
        """Run the errand; a child that dies is tried once more in a new one."""
        job_s = job.job_limit_s if isinstance(job, CheckJob) else job.settings.job_limit_s
        limits = Limits(job_s=job_s, silence_s=self._settings.silence_s)
        for crash in range(1, MAX_CRASHES + 1):
            child = self._spare_child()
            try:
                return child.run(errand, limits, heartbeat.report, is_stopped)
            except JobFailed as failed:
                if failed.failure_class != "device-fault" or crash == MAX_CRASHES:
                    raise
                log.warning("job %s: %s; once more in a new process", job.id, failed.reason)
                _clear(Path(str(errand["work_folder"])))
            finally:
                self._drop_child()
                if not self._stop.is_set():
                    self._spare_child()
        raise AssertionError("unreachable: the last crash is raised")

    def _fetch(self, job: Job | CheckJob, is_stopped: Callable[[], bool]) -> dict[str, Path]:
        """All files of a job, by hash."""
        if isinstance(job, CheckJob):
            networks = [network.file for network in job.networks]
            return {file.sha256: self._fetch_one(file, networks, is_stopped) for file in networks}
        probe = job.probe
        wanted = [
            job.candidate,
            job.baseline,
            probe.inputs,
            probe.candidate_outputs,
            probe.baseline_outputs,
            job.data,
        ]
        paths = {file.sha256: self._fetch_one(file, wanted, is_stopped) for file in wanted}
        try:
            manifest = DataManifest.from_json(
                json.loads(paths[job.data.sha256].read_text(encoding="utf-8"))
            )
        except (ValueError, ProtocolError) as error:
            raise JobFailed("bad-artifact", "data", f"the manifest is broken: {error}") from error
        data = [*(shard.file for shard in manifest.shards), manifest.labels]
        wanted += data
        for file in data:
            paths[file.sha256] = self._fetch_one(file, wanted, is_stopped)
        return paths

    def _fetch_one(self, file: File, keep: list[File], is_stopped: Callable[[], bool]) -> Path:
        backoff = Backoff(lambda wait_s: _wait(wait_s, self._stop, is_stopped))
        try:
            path = until_reached(
                lambda: self._cache.fetch(file, self._client, keep, is_stopped),
                backoff,
                f"artifact {file.sha256[:12]}",
            )
        except WrongContent as error:
            raise JobFailed("bad-artifact", "download", str(error)) from error
        except CacheError as error:
            raise JobFailed("internal", "download", str(error)) from error
        except ServerError as error:
            raise JobFailed("bad-artifact", "download", str(error)) from error
        if path is None:
            raise Stopped("stopped")
        return path

    def _send(self, what: str, call: Callable[[], None]) -> None:
        """Deliver something; again and again while the server is away."""
        # Told to stop meanwhile, one more try is made, not endless ones.
        backoff = Backoff(self._stop.wait)
        try:
            until_reached(call, backoff, what)
        except LeaseLost as error:
            log.warning("%s not wanted any more: %s", what, error)
        except UpgradeRequired:
            raise
        except BenchmarkError as error:
            log.error("%s refused: %s", what, error)

    def _spare_child(self) -> InferenceChild:
        """A child that has its runtime loaded, or is loading it."""
        if self._child is None or not self._child.is_alive():
            self._drop_child()
            self._child = InferenceChild(self._settings.runtime)
        return self._child

    def _drop_child(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None


def _wait(wait_s: float, stop: threading.Event, is_stopped: Callable[[], bool]) -> bool:
    """Wait in short steps; true when told to stop."""
    while wait_s > 0.0 and not is_stopped():
        stop.wait(min(0.5, wait_s))
        wait_s -= 0.5
    return is_stopped()


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
