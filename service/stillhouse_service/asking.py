"""Ask and tell: the optimizer alone, for trials that are run outside.

Depends on: the store, stillhouse_optimizer. A trial that was asked for is a stage on the lane
`outside`, and who has it holds an attempt with a token and an end, as a device host does.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from stillhouse_optimizer.errors import SpaceExhausted
from stillhouse_optimizer.spec import Proposal
from stillhouse_optimizer.stopping import Budget, stop_reason
from stillhouse_service import attempts, incumbents, listed, outcomes, transfers, warm_start
from stillhouse_service.errors import Conflict, LeaseLost, Problem, SpecRejected
from stillhouse_service.failures import Failure
from stillhouse_service.instruments import PROPOSAL_S
from stillhouse_service.loading import PROPOSALS, load
from stillhouse_service.objectives import RANGES
from stillhouse_service.once import Once
from stillhouse_service.settings import Settings
from stillhouse_service.states import AttemptState, StudyState
from stillhouse_service.steps import end_outside, start_trial
from stillhouse_service.store import Store, UnitOfWork
from stillhouse_service.tables import AttemptRow, StudyRow, TrialRow

_N_TRIES = 5  # when others add trials while the optimizer thinks


@dataclass(frozen=True)
class Given:
    """What was given to somebody who asked.

    Attributes:
        attempts: Ids, one a trial.
        reason: Why there are no more; none: there are as many as were asked for.
    """

    attempts: Sequence[str]
    reason: str | None = None


class Asking:
    """Gives out the trials of studies that are run outside, one request at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()  # proposals take turns anyway

    def ask(self, study_id: str, n: int, lease_s: float, user: str, once: Once) -> Given:
        """Give out `n` trials: first those that somebody gave up or enqueued, then new ones.

        Raises:
            NotFound: No such study.
            Conflict: It is not run outside, is paused, or was ended early.
            KeyReused: The request's key came with another one before.
        """
        with self._lock:
            for _ in range(_N_TRIES):
                given = self._try(study_id, n, lease_s, user, once)
                if given is not None:
                    return given
        raise Conflict(f"study {study_id} changes all the time; ask again")

    def _try(self, study_id: str, n: int, lease_s: float, user: str, once: Once) -> Given | None:
        with self._store.read() as view:
            view.user = user
            known = once.found(view)
            if known is not None:
                return Given(known.subjects or (), None if known.subjects else "given before")
            study = view.studies.named(study_id)
            if _is_over(study):
                return Given((), study.reason or f"study {study_id} is over")
            n_waiting = len(view.stages.to_ask(study_id, view.now, n))
            n_trials, n_started = view.trials.n_begun_of(study_id)
            open_trials = view.trials.open_of(study_id)
            pending = [trial.config for trial in open_trials]
            reason = _spent(view, study, n_started)
            n_left = int(study.spec["budget"]["trials"]) - n_started
            n_new = 0 if reason else min(n - n_waiting, n_left)
            told = view.trials.told_of(study_id) if n_new > 0 else []
            history = [incumbents.observed(trial) for trial in told]
            sources = transfers.sources_of(view, study) if n_new > 0 else ()
        proposals: Sequence[Proposal] = []
        if n_new > 0:
            load(PROPOSALS)  # on use
            from stillhouse_optimizer.propose import propose

            try:
                seed = int(study.spec["seed"])
                problem = incumbents.problem_of(study)
                begun_s = time.perf_counter()
                proposals = propose(problem, history, pending, seed=seed, n=n_new, sources=sources)
                PROPOSAL_S.observe(time.perf_counter() - begun_s)
            except SpaceExhausted as end:
                reason = f"all {end.n_configs} configs of the space were tried"
            else:
                promise = Budget(min_gain=study.spec["budget"].get("min_gain"))
                reason = stop_reason(promise, 0, 0.0, 0.0, proposals[0])
                proposals = [] if reason else proposals
        with self._store.begin(user) as work:
            study = work.studies.named(study_id)
            if work.trials.n_of(study_id) != n_trials or study.state != StudyState.RUNNING:
                return None  # somebody was faster
            unknown = listed.ended_since(work, [trial.id for trial in open_trials])
            made = once.do_all(
                work,
                study_id,
                lambda: _hand_out(work, study, proposals, n, n_trials, lease_s, unknown),
            )
            is_spent = n_started + len(proposals) >= int(study.spec["budget"]["trials"])
            if len(made) < n and reason is None and is_spent:
                reason = f"all {study.spec['budget']['trials']} trials of its budget are given out"
            if not made and reason is not None and not work.trials.open_of(study_id):
                end_outside(work, study, reason)
            return Given(made, reason if len(made) < n else None)


def _is_over(study: StudyRow) -> bool:
    """Tell whether a study has come to its end.

    Raises:
        Conflict: It gives out no trials for another reason.
    """
    if study.baseline_id is not None:
        raise Conflict(f"study {study.id} is run by this server; only one of runner `outside` asks")
    if study.state == StudyState.FINISHED:
        return True
    if study.state != StudyState.RUNNING:
        why = f": {study.reason}" if study.reason else ""
        raise Conflict(f"study {study.id} is {study.state}{why}")
    return False


def _spent(view: UnitOfWork, study: StudyRow, n_started: int) -> str | None:
    elapsed_s = (view.now - (study.started_at or view.now)).total_seconds()
    budget = Budget.from_mapping(study.spec["budget"])
    return stop_reason(budget, n_started, elapsed_s, 0.0)


def _hand_out(
    work: UnitOfWork,
    study: StudyRow,
    proposals: Sequence[Proposal],
    n: int,
    number: int,
    lease_s: float,
    unknown: str,
) -> list[str]:
    for i, proposal in enumerate(proposals):
        trial = start_trial(
            work, study, number + i, proposal.config, proposal.origin, work.user, unknown
        )
        transfers.proposed(trial, proposal)
    stages = work.stages.to_ask(study.id, work.now, n)
    return [attempts.start(work, stage, work.user, lease_s).id for stage in stages]


def tell(work: UnitOfWork, trial_id: str, token: str, metrics: Mapping[str, float]) -> TrialRow:
    """Take what was measured of an asked trial; the same tell again is harmless.

    Raises:
        NotFound: No such trial.
        Conflict: It was not asked for, or told with other values before.
        LeaseLost: Somebody else has told it, or nobody wants it any more; the token is another's.
        SpecRejected: The metrics lack one that the study needs, or one cannot be.
    """
    trial = work.trials.named(trial_id)
    attempt = _held(work, trial, token)
    if attempt.state == AttemptState.SUCCEEDED:
        if dict(metrics) != dict(trial.metrics or {}):
            raise Conflict(f"trial {trial_id} was told with other values; results never change")
        return trial
    check_metrics(work.studies.named(trial.study_id), metrics)
    stage = attempts.succeed(work, attempt)
    outcomes.told(work, stage, metrics, work.user)
    return trial


def tell_failure(
    work: UnitOfWork, trial_id: str, token: str, failure: Failure, settings: Settings
) -> TrialRow:
    """Take that an asked trial failed; once its time is over this changes nothing.

    Raises:
        NotFound: No such trial.
        Conflict: It was not asked for, or was told before.
        LeaseLost: The token is another's.
    """
    trial = work.trials.named(trial_id)
    attempt = _held(work, trial, token)
    if attempt.state == AttemptState.SUCCEEDED:
        raise Conflict(f"trial {trial_id} was told before; results never change")
    attempts.fail(work, attempt, failure, settings)
    return trial


def extend(
    work: UnitOfWork, trial_id: str, token: str, lease_s: float, progress: Mapping[str, Any]
) -> tuple[AttemptRow, bool]:
    """Give the holder of an asked trial more time; say whether its result is no longer wanted.

    Raises:
        NotFound: No such trial.
        Conflict: It was not asked for.
        LeaseLost: It is over, or the token is another's.
    """
    trial = work.trials.named(trial_id)
    attempt = _held(work, trial, token)
    if attempt.state == AttemptState.CANCELLED:
        return attempt, True
    if attempt.state != AttemptState.RUNNING:
        raise LeaseLost(f"trial {trial_id} is no longer yours: {attempt.state}")
    attempt.expires_at = work.now + timedelta(seconds=lease_s)
    trial.progress = dict(progress)
    return attempt, False


def check_metrics(study: StudyRow, metrics: Mapping[str, float], where: str = "metrics") -> None:
    """Make sure that told metrics say what a study needs.

    Raises:
        SpecRejected: With every problem, each at its path.
    """
    problems = [
        Problem(f"{where}.{name}", "missing: the study's objective or a limit needs it")
        for name in warm_start.wanted_metrics(study)
        if name not in metrics
    ]
    for name, value in metrics.items():
        low, high = RANGES.get(name, (value, value))
        if not low <= value <= high:
            message = f"lies between {low:g} and {high:g}, got {value:g}"
            problems.append(Problem(f"{where}.{name}", message))
        ends = metrics.get(f"{name}_low", value), metrics.get(f"{name}_high", value)
        if not ends[0] <= value <= ends[1]:
            message = f"{value:g} is outside its own interval, {ends[0]:g} to {ends[1]:g}"
            problems.append(Problem(f"{where}.{name}", message))
    if problems:
        raise SpecRejected(problems)


def _held(work: UnitOfWork, trial: TrialRow, token: str) -> AttemptRow:
    """Find the handing-out that the token belongs to."""
    given = work.stages.asked_of(trial.id)
    if not given:
        raise Conflict(
            f"trial {trial.id} was given to nobody: only trials of POST /v1/studies/.../ask are "
            "told"
        )
    for attempt in given:
        if hmac.compare_digest(attempt.token.encode(), token.encode()):
            return attempt
    raise LeaseLost(f"trial {trial.id} has another token: send the one it was given out with")
