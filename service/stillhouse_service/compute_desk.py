"""What a server has its compute do: hands stages out, takes what becomes of them.

Depends on: the store, compute. Keeps nothing of an attempt that the database does not hold but
reports on their way there.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from stillhouse_service import attempts, checkpoints, dry_runs, early_stops, outcomes, probes
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.compute import Compute, End, needs_of
from stillhouse_service.errors import Deposed, LeaseLost
from stillhouse_service.failures import Failure
from stillhouse_service.settings import Settings
from stillhouse_service.states import AttemptState, BaselineState, StageState, is_final
from stillhouse_service.store import Store, UnitOfWork
from stillhouse_service.tracing import traceparent_of

_log = logging.getLogger(__name__)
_N_LOOKED_AT = 200  # waiting stages; those that no worker can do must not hide the others
_WAITS = "waits_for"  # in a baseline's progress


class ComputeDesk:
    """Between the database and compute; used by the driver's thread.

    Attributes:
        problem: Why nothing can be handed out, as the last try found; none: it can.
        unmet: Study or baseline -> what no worker offers.
    """

    def __init__(
        self,
        store: Store,
        artifacts: ArtifactStore,
        settings: Settings,
        on_news: Callable[[], None],
    ) -> None:
        """Prepare; compute starts with the first stage.

        Args:
            store: Fenced: whoever no longer leads writes nothing.
            artifacts: What compute reads and writes.
            settings: `compute` says where it is.
            on_news: Called in any thread when there is something to take.
        """
        self._store, self._artifacts, self._settings = store, artifacts, settings
        self._on_news = on_news
        self.problem: str | None = None
        self.unmet: dict[str, str] = {}
        self._ends: deque[End] = deque()
        self._progress: dict[str, Mapping[str, Any]] = {}
        self._progress_lock = threading.Lock()
        self._compute = Compute(settings, artifacts, self._on_end, self._on_progress)

    @property
    def is_offered(self) -> bool:
        """Whether this server computes at all."""
        return self._compute.is_offered

    def size(self) -> tuple[int, int]:
        """Count the stages that compute can run at once, and the workers seen alive."""
        return self._compute.n_slots, self._compute.n_workers

    def tell_problem(self, problem: str) -> None:
        """Note why nothing can be handed out."""
        self.problem, self.unmet = problem, {}

    def disown(self, attempt_id: str) -> None:
        """Have an attempt end that another server handed out."""
        self._compute.cancel(attempt_id)

    def close(self) -> None:
        """End what runs."""
        self._compute.close()

    def clear(self) -> None:
        """End what runs, and forget what became of it: another server hands it out anew."""
        self._compute.close()
        self._ends.clear()
        with self._progress_lock:
            self._progress = {}
        self.problem, self.unmet = None, {}

    def _on_end(self, end: End) -> None:
        self._ends.append(end)
        self._on_news()

    def _on_progress(self, attempt_id: str, progress: Mapping[str, Any]) -> None:
        with self._progress_lock:
            self._progress[attempt_id] = progress
        self._on_news()

    def take_reports(self) -> None:
        """Store what compute has reported since the last call."""
        with self._progress_lock:
            progress, self._progress = self._progress, {}
        for attempt_id, message in progress.items():
            self._note_progress(attempt_id, message)
        while self._ends:
            # Taken off only when it is stored: a report that a full disk kept out comes again.
            ended = self._take_end(self._ends[0])
            self._compute.forget(self._ends.popleft().attempt_id)
            if ended is not None:
                checkpoints.remove(self._artifacts.place, ended)

    def _note_progress(self, attempt_id: str, progress: Mapping[str, Any]) -> None:
        with self._store.begin() as work:
            attempt = work.stages.attempt(attempt_id)
            if attempt.state != AttemptState.RUNNING:
                return
            stage = work.stages.stage(attempt.stage_id)
            if stage.trial_id is not None:
                work.trials.named(stage.trial_id).progress = dict(progress)
            elif stage.baseline_id is not None:
                work.baselines.named(stage.baseline_id).progress = dict(progress)

    def _take_end(self, end: End) -> str | None:
        """Store how an attempt ended, and what follows from it.

        Returns:
            Its stage, if that has ended for good.
        """
        try:
            self._store_end(end)
        except (OperationalError, InterfaceError, PoolTimeout, OSError, MemoryError, Deposed):
            raise  # passes: it comes again, and the result is kept until then
        except Exception as error:
            # A report that cannot be taken must not keep out those behind it.
            _log.exception("%s: its report cannot be taken", end.attempt_id)
            why = f"its report could not be taken: {type(error).__name__}: {error}"
            self._store_end(End(end.attempt_id, "lost", {}, why))
        with self._store.read() as view:
            stage = view.stages.stage(view.stages.attempt(end.attempt_id).stage_id)
            return stage.id if is_final(stage.state) else None

    def _store_end(self, end: End) -> None:
        try:
            with self._store.begin() as work:
                self._take(work, end)
        except LeaseLost as error:
            _log.info("compute reported too late: %s", error)

    def _take(self, work: UnitOfWork, end: End) -> None:
        attempt = work.stages.attempt(end.attempt_id)
        if end.kind == "lost":
            attempts.lose(work, attempt, end.reason, self._settings)
        elif "failure" in end.answer:
            attempts.fail(work, attempt, Failure(**end.answer["failure"]), self._settings)
        elif "is_cancelled" in end.answer:
            attempts.release(work, attempt, "the task was told to end")
        elif "stopped" in end.answer:
            early_stops.stopped(work, attempts.succeed(work, attempt), end.answer["stopped"])
        else:
            stage = attempts.succeed(work, attempt)
            if stage.kind == "train":
                outcomes.trained(work, stage, end.answer)
            elif stage.kind == "dry-run":
                dry_runs.made(work, stage, end.answer)
            elif stage.kind == probes.SKETCH:
                probes.made(work, stage, end.answer)
            else:
                outcomes.compressed(work, stage, end.answer)

    def give_up_forgotten(self) -> None:
        """Give up attempts that compute knows nothing of: nobody would ever report their end."""
        if not self._compute.is_offered:
            return
        with self._store.read() as view:
            begun = {attempt.id for attempt in view.stages.running_on("compute")}
        begun -= set(self._compute.running())
        begun -= {end.attempt_id for end in self._ends.copy()}
        for attempt_id in sorted(begun):
            _log.error("%s: compute has lost sight of it", attempt_id)
            with self._store.begin() as work:
                attempt = work.stages.attempt(attempt_id)
                attempts.lose(work, attempt, "compute has lost sight of it", self._settings)

    def hand_out(self) -> None:
        """Cancel what nobody wants any more, submit what waits."""
        if running := self._compute.running():
            with self._store.read() as view:
                unwanted = [
                    attempt_id
                    for attempt_id in running
                    if view.stages.attempt(attempt_id).state != AttemptState.RUNNING
                ]
            for attempt_id in unwanted:
                self._compute.cancel(attempt_id)
        if not self._compute.is_offered:
            self.problem = "this server was started without compute"
            return
        self._compute.look()
        if self._compute.n_free() <= 0:
            return
        with self._store.read() as view:
            waiting = [
                (
                    stage.id,
                    stage.study_id or stage.baseline_id or "",
                    needs_of(stage.kind, stage.order),
                )
                for stage in view.stages.waiting("compute", view.now, _N_LOOKED_AT)
            ]
        if waiting:
            # Before any attempt is spent on what cannot work.
            self._compute.open()
            self._artifacts.check_room(self._settings.min_free_bytes)
            self.problem = None
        unmet: dict[str, str] = {}
        for stage_id, subject, needs in waiting:
            if (missing := self._compute.missing(needs)) is not None:
                unmet[subject] = missing
            elif self._compute.n_free() > 0:
                self._submit(stage_id)
        self.unmet = unmet

    def _submit(self, stage_id: str) -> None:
        with self._store.begin() as work:
            stage = work.stages.stage(stage_id)
            if stage.state != StageState.WAITING:
                return  # cancelled meanwhile
            attempt = attempts.start(work, stage, self._compute.name, lease_s=None)
            kind = stage.kind
            order = {**stage.order, "traceparent": traceparent_of(stage, attempt)}
        try:
            self._compute.submit(attempt.id, stage_id, kind, order)
        except Exception:
            with self._store.begin() as work:
                attempt = work.stages.attempt(attempt.id)
                attempts.release(work, attempt, "it could not be submitted")
            raise

    def say_what_baselines_wait_for(self) -> None:
        """Put into each queued baseline's progress what no worker offers; studies have a reason."""
        if not self._compute.is_offered:
            return
        with self._store.read() as view:
            waiting = view.baselines.in_state(BaselineState.QUEUED)
            why = {row.id: self.problem or self.unmet.get(row.id) for row in waiting}
            untold = [row.id for row in waiting if row.progress.get(_WAITS) != why[row.id]]
        if not untold:
            return
        with self._store.begin() as work:
            for baseline_id in untold:
                baseline = work.baselines.named(baseline_id)
                if baseline.state == BaselineState.QUEUED:
                    reason = why[baseline_id]
                    baseline.progress = {} if reason is None else {_WAITS: reason}
