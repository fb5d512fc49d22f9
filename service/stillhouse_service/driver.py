"""Moves every study on: proposes, hands out compute, finishes; one thread, short transactions.

Depends on: the store, compute_desk, leadership, stillhouse_optimizer, sqlalchemy for its errors.
Keeps nothing that the database does not hold: a restarted driver goes on where the last one
stopped, and so does one that takes the lead from another server.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from functools import partial

from sqlalchemy.exc import InterfaceError, OperationalError

from stillhouse_service import attempts, leases, steps
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.clock import ClockWatch
from stillhouse_service.compute_desk import ComputeDesk
from stillhouse_service.errors import ComputeUnavailable, Deposed
from stillhouse_service.leadership import Leadership
from stillhouse_service.loading import BOUNDS, load
from stillhouse_service.settings import Settings
from stillhouse_service.states import StudyState
from stillhouse_service.store import Store
from stillhouse_service.watchdog import Watchdog

_log = logging.getLogger(__name__)
_TICK_S = 0.5  # leases run out and pauses end without anybody telling; nor do other processes
_REST_S = 5.0  # before trying again what has just failed
_N_IN_TURN = 20  # studies that are looked at in a tick although nothing of theirs has moved


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
        self._resting: dict[str, float] = {}  # what has failed -> when to try again
        self._swept_to = ""  # the study that was looked at last, in turn
        self._stuck: dict[str, str] = {}  # study -> the error that its next step ends with
        self._has_taken_over = False
        self._step = ("start", time.monotonic())  # what it does, and since when
        self._looked_at_s = -math.inf
        self._rounds: list[tuple[str, Callable[[], None]]] = []  # what comes round by itself
        self._steps = steps.Steps(store, settings)
        self._watchdog = Watchdog(store, settings)
        self._clock = ClockWatch(store)
        self._desk = ComputeDesk(store, artifacts, settings, on_news=self.wake)
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
        self._desk.close()

    def wake(self, studies: Collection[str] = ()) -> None:
        """Look at once: something has changed, and what belongs to `studies` has moved."""
        with self._moved_lock:
            self._moved.update(studies)
        self._wake.set()

    @property
    def compute_problem(self) -> str | None:
        """Why nothing can be handed out on compute, as the last try found."""
        return self._desk.problem if self._desk.is_offered else None

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
        return self._desk.size()

    def _take_over(self) -> None:
        """Take the lead where nobody has it, and take back what the last leader's compute did.

        What a leader that lives has handed out is never touched: it leads until it is gone.
        """
        if not self._leadership.take():
            return
        with self._store.begin() as work:
            for attempt in work.stages.running_on("compute"):
                self._desk.disown(attempt.id)  # on a shared cluster it may still run
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
        self._desk.clear()
        self._stuck = {}

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
        self._guarded("compute reports", self._desk.take_reports)
        # Before whatever comes round by itself: somebody waits for what has just moved.
        self._guarded("studies", self._advance_moved)
        self._guarded("compute", self._desk.hand_out)
        if is_tick and not self._rounds:
            self._rounds = [
                ("leases", self._expire_leases),
                ("forgotten", self._desk.give_up_forgotten),
                ("watchdog", self._watch),
                ("sweep", self._sweep),
                ("baselines", self._desk.say_what_baselines_wait_for),
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
            self._desk.tell_problem(str(error))
            _log.error("%s; next try in %g s", error, _REST_S)
            self._resting[what] = time.monotonic() + _REST_S
        except (OperationalError, InterfaceError) as error:
            _log.error("driver: %s: no database: %s", what, error.orig)
            self._resting[what] = time.monotonic() + _TICK_S
        except Exception:
            # A bug or a full disk must not end every study of this server.
            _log.exception("driver: %s failed; next try in %g s", what, _REST_S)
            self._resting[what] = time.monotonic() + _REST_S

    def _expire_leases(self) -> None:
        self._clock.look()  # first: a clock that was set must not end every lease
        with self._store.read() as view:
            if not view.stages.expired(view.now):
                return
        with self._store.begin() as work:
            leases.expire(work, self._settings)

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
        self._watchdog.look(self._desk.problem, self._desk.unmet, self._stuck)


def in_turn(ids: Sequence[str], last: str, n: int) -> list[str]:
    """Give the next `n` ids behind the last one that had its turn, round and round."""
    ranked = sorted(ids)
    start = bisect_right(ranked, last)
    return (ranked[start:] + ranked[:start])[:n]
