"""Moves every study on: proposes, hands out compute, finishes; one thread, short transactions.

Depends on: the store, compute, leadership, stillhouse_optimizer, sqlalchemy for its errors. Keeps
nothing that the database does not hold: a restarted driver goes on where the last one stopped, and
so does one that takes the lead from another server.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError

from stillhouse_service import (
    attempts,
    checkpoints,
    dry_runs,
    early_stops,
    leases,
    outcomes,
    probes,
    steps,
)
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.clock import ClockWatch
from stillhouse_service.compute import Compute, End, needs_of
from stillhouse_service.errors import ComputeUnavailable, Deposed, LeaseLost
from stillhouse_service.failures import Failure
from stillhouse_service.leadership import Leadership
from stillhouse_service.loading import BOUNDS, load
from stillhouse_service.settings import Settings
from stillhouse_service.states import (
    AttemptState,
    BaselineState,
    StageState,
    StudyState,
    is_final,
)
from stillhouse_service.store import Store, UnitOfWork
from stillhouse_service.tracing import traceparent_of
from stillhouse_service.watchdog import Watchdog

_log = logging.getLogger(__name__)
_TICK_S = 0.5  # leases run out and pauses end without anybody telling; nor do other processes
_REST_S = 5.0  # before trying again what has just failed
_N_LOOKED_AT = 200  # waiting stages; those that no worker can do must not hide the others
_N_IN_TURN = 20  # studies that are looked at in a tick although nothing of theirs has moved
_WAITS = "waits_for"  # in a baseline's progress


class Driver:
    """The one thread that moves studies on, while its server leads."""

    def __init__(
        self,
        store: Store,
        artifacts: ArtifactStore,
        settings: Settings,
        leadership: Leadership,
    ) -> None:
        self._leadership = leadership
        # Whoever no longer leads writes nothing.
        self._store = store = store.fenced(leadership.fence)
        self._settings = settings
        self._wake = threading.Event()
        self._moved: set[str] = set()  # studies of which something has moved
        self._moved_lock = threading.Lock()
        self._stop = threading.Event()
        self._ends: deque[End] = deque()
        self._progress: dict[str, Mapping[str, Any]] = {}
        self._progress_lock = threading.Lock()
        self._resting: dict[str, float] = {}  # what has failed -> when to try again
        self._compute_problem: str | None = None
        self._unmet: dict[str, str] = {}  # study or baseline -> what no worker offers
        self._swept_to = ""  # the study that was looked at last, in turn
        self._stuck: dict[str, str] = {}  # study -> the error that its next step ends with
        self._artifacts = artifacts
        self._has_taken_over = False
        self._step = ("start", time.monotonic())  # what it does, and since when
        self._looked_at_s = -math.inf
        self._rounds: list[tuple[str, Callable[[], None]]] = []  # what comes round by itself
        self._steps = steps.Steps(store, settings)
        self._watchdog = Watchdog(store, settings)
        self._clock = ClockWatch(store)
        self._compute = Compute(settings, artifacts, self._on_end, self._on_progress)
        self._thread = threading.Thread(target=self._run, name="driver", daemon=True)

    def start(self) -> None:
        """Take over from whoever drove this database before, then drive.

        While another server drives, this one looks again and again whether it still does.

        A database that goes away just now does not end the server: its thread tries again.
        """
        self._guarded("taking over", self._take_over)
        self._thread.start()

    def stop(self) -> None:
        """Stop driving and end what runs on compute."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=30)
        self._compute.close()

    def wake(self, studies: Collection[str] = ()) -> None:
        """Look at once: something has changed, and what belongs to `studies` has moved."""
        with self._moved_lock:
            self._moved.update(studies)
        self._wake.set()

    @property
    def compute_problem(self) -> str | None:
        """Why nothing can be handed out on compute, as the last try found."""
        return self._compute_problem if self._compute.is_offered else None

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def step(self) -> tuple[str, float]:
        """Tell what it does, and for how many seconds."""
        what, since_s = self._step
        return what, time.monotonic() - since_s

    def compute_size(self) -> tuple[int, int]:
        """Count the stages that compute can run at once, and the workers seen alive."""
        return self._compute.n_slots, self._compute.n_workers

    def _take_over(self) -> None:
        """Take the lead where nobody has it, and take back what the last leader's compute did.

        What a leader that lives has handed out is never touched: it leads until it is gone.
        """
        if not self._leadership.take():
            return
        with self._store.begin() as work:
            for attempt in work.stages.running_on("compute"):
                self._compute.cancel(attempt.id)  # on a shared cluster it may still run
                attempts.release(work, attempt, "the server was restarted")
            self.wake(work.studies.ids_in([StudyState.RUNNING]))  # whatever moved before
        self._clock = ClockWatch(self._store)  # the last leader has seen what came before
        self._has_taken_over = True

    def _drives(self) -> bool:
        """Tell whether this server drives; take over where nobody does."""
        if self._has_taken_over and not self._leadership.leads:
            self._resign()
        if not self._has_taken_over:
            # First of all: what is handed out from now on is ours.
            self._guarded("taking over", self._take_over)
        return self._has_taken_over

    def _resign(self) -> None:
        """End what runs here: another server drives, and hands it out anew."""
        _log.warning("another server drives from now on")
        self._has_taken_over = False
        self._compute.close()
        self._ends.clear()
        with self._progress_lock:
            self._progress = {}
        self._compute_problem, self._unmet, self._stuck = None, {}, {}

    def _run(self) -> None:
        # Loaded here, so that neither the server's start nor a transaction waits for it.
        self._guarded("loading", partial(load, BOUNDS))
        while not self._stop.is_set():
            try:
                self._turn()
            except Exception:
                # Whatever it is, it must not end the one thread that moves studies on.
                _log.exception("driver: failed; next try in %g s", _REST_S)
                self._stop.wait(_REST_S)

    def _turn(self) -> None:
        """Take up what has moved; every now and then, what comes round by itself."""
        self._wake.clear()
        if not self._drives():
            self._stop.wait(_TICK_S)
            return
        now_s = time.monotonic()
        is_tick = now_s >= self._looked_at_s + _TICK_S
        self._looked_at_s = now_s if is_tick else self._looked_at_s
        self._guarded("compute reports", self._take_reports)
        # Before whatever comes round by itself: somebody waits for what has just moved.
        self._guarded("studies", self._advance_moved)
        self._guarded("compute", self._hand_out)
        if is_tick and not self._rounds:
            self._rounds = [
                ("leases", self._expire_leases),
                ("forgotten", self._give_up_forgotten),
                ("watchdog", self._watch),
                ("sweep", self._sweep),
                ("baselines", self._say_what_baselines_wait_for),
            ]
        while self._rounds:
            self._guarded(*self._rounds.pop(0))
            if self._wake.is_set():
                break  # the rest of the round after what has just moved
        self._step = ("rest", time.monotonic())
        self._wake.wait(_TICK_S)

    def _guarded(self, what: str, step: Callable[[], None]) -> None:
        """Run a step; when it fails, say so, rest a while and go on with the others."""
        if self._resting.get(what, 0.0) > time.monotonic() or self._stop.is_set():
            return
        self._step = (what, time.monotonic())
        try:
            step()
        except Deposed:
            return  # `_drives` sees it
        except ComputeUnavailable as error:
            self._compute_problem = str(error)
            self._unmet = {}
            _log.error("%s; next try in %g s", error, _REST_S)
            self._resting[what] = time.monotonic() + _REST_S
        except (OperationalError, InterfaceError) as error:
            _log.error("driver: %s: no database: %s", what, error.orig)
            self._resting[what] = time.monotonic() + _TICK_S
        except Exception:
            # A bug or a full disk must not end every study of this server.
            _log.exception("driver: %s failed; next try in %g s", what, _REST_S)
            self._resting[what] = time.monotonic() + _REST_S

    def _on_end(self, end: End) -> None:
        self._ends.append(end)
        self.wake()

    def _on_progress(self, attempt_id: str, progress: Mapping[str, Any]) -> None:
        with self._progress_lock:
            self._progress[attempt_id] = progress
        self.wake()

    def _take_reports(self) -> None:
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
            with self._store.begin() as work:
                self._take(work, end)
        except LeaseLost as error:
            _log.info("compute reported too late: %s", error)
        with self._store.read() as view:
            stage = view.stages.stage(view.stages.attempt(end.attempt_id).stage_id)
            return stage.id if is_final(stage.state) else None

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

    def _expire_leases(self) -> None:
        self._clock.look()  # first: a clock that was set must not end every lease
        with self._store.read() as view:
            if not view.stages.expired(view.now):
                return
        with self._store.begin() as work:
            leases.expire(work, self._settings)

    def _give_up_forgotten(self) -> None:
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

    def _hand_out(self) -> None:
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
            self._compute_problem = "this server was started without compute"
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
            self._compute_problem = None
        unmet: dict[str, str] = {}
        for stage_id, subject, needs in waiting:
            if (missing := self._compute.missing(needs)) is not None:
                unmet[subject] = missing
            elif self._compute.n_free() > 0:
                self._submit(stage_id)
        self._unmet = unmet

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

    def _say_what_baselines_wait_for(self) -> None:
        """Put into each queued baseline's progress what no worker offers; studies have a reason."""
        if not self._compute.is_offered:
            return
        with self._store.read() as view:
            waiting = view.baselines.in_state(BaselineState.QUEUED)
            why = {row.id: self._compute_problem or self._unmet.get(row.id) for row in waiting}
            untold = [row.id for row in waiting if row.progress.get(_WAITS) != why[row.id]]
        if not untold:
            return
        with self._store.begin() as work:
            for baseline_id in untold:
                baseline = work.baselines.named(baseline_id)
                if baseline.state == BaselineState.QUEUED:
                    reason = why[baseline_id]
                    baseline.progress = {} if reason is None else {_WAITS: reason}

    def _advance_moved(self) -> None:
        """Advance the studies of which something has moved."""
        with self._moved_lock:
            moved, self._moved = self._moved, set()
        for study_id in sorted(moved):
            self._guarded(study_id, partial(self._advance, study_id))

    def _sweep(self) -> None:
        """Advance some of the studies that run.

        What time alone brings, the end of a budget, may wait for its turn: a thousand studies that
        run must not cost more than a few, nor hold up the one that has moved.
        """
        with self._store.read() as view:
            running = view.studies.ids_in([StudyState.RUNNING])
        turn = in_turn(running, self._swept_to, _N_IN_TURN)
        self._swept_to = turn[-1] if turn else ""
        for study_id in turn:
            self._guarded(study_id, partial(self._advance, study_id))

    def _advance(self, study_id: str) -> None:
        """Take a study on; what keeps it from going on is told to who waits for it."""
        try:
            self._steps.advance(study_id)
        except (OperationalError, InterfaceError, Deposed):
            raise
        except Exception as error:
            self._stuck[study_id] = f"{type(error).__name__}: {error}"
            raise
        self._stuck.pop(study_id, None)

    def _watch(self) -> None:
        self._watchdog.look(self._compute_problem, self._unmet, self._stuck)


def in_turn(ids: Sequence[str], last: str, n: int) -> list[str]:
    """Give the next `n` ids behind the last one that had its turn, round and round."""
    ranked = sorted(ids)
    start = bisect_right(ranked, last)
    return (ranked[start:] + ranked[:start])[:n]
