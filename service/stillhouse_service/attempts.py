"""Handing a stage out and taking it back: attempts, tokens, retries.

Depends on: the store. A stage's attempts are numbered; whoever finishes first wins, all later
reports are refused or ignored. What a stage's fate means for its trial is outcomes.py's business.
"""

from __future__ import annotations

from datetime import timedelta

from stillhouse_service import outcomes
from stillhouse_service.errors import LeaseLost
from stillhouse_service.failures import Failure, policy_of
from stillhouse_service.ids import new_id, new_token
from stillhouse_service.settings import Settings
from stillhouse_service.states import AttemptState, StageState, is_final
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import AttemptRow, StageRow


def start(
    work: UnitOfWork,
    stage: StageRow,
    holder: str,
    lease_s: float | None,
    n_before: int | None = None,
) -> AttemptRow:
    """Hand a waiting stage to `holder`, for `lease_s` seconds or until its end is reported.

    `n_before` is how often it was handed out before, where that has been counted already.
    """
    work.move(stage, StageState.RUNNING, who=holder)
    attempt = AttemptRow(
        id=new_id("lse"),
        stage_id=stage.id,
        number=(work.stages.n_attempts(stage.id) if n_before is None else n_before) + 1,
        token=new_token(),
        state=AttemptState.RUNNING,
        holder=holder,
        expires_at=None if lease_s is None else work.now + timedelta(seconds=lease_s),
        failure=None,
        started_at=work.now,
        finished_at=None,
    )
    work.stages.add_attempt(attempt)
    work.created(attempt, who=holder, reason=f"{stage.kind}, attempt {attempt.number}")
    outcomes.begun(work, stage, who=holder)
    return attempt


def succeed(work: UnitOfWork, attempt: AttemptRow) -> StageRow:
    """Take an attempt's success: its stage is done, other attempts of it are superseded.

    Raises:
        LeaseLost: The stage has ended already, by somebody else or because nobody wants it.
    """
    stage = work.stages.stage(attempt.stage_id)
    if attempt.state not in (AttemptState.RUNNING, AttemptState.LOST):
        raise LeaseLost(f"lease {attempt.id} is {attempt.state}; its result is not wanted")
    if is_final(stage.state):
        raise LeaseLost(f"job {stage.id} is {stage.state} already; the result was not needed")
    is_late = attempt.state == AttemptState.LOST
    # Only a stage that waits is handed out: while an attempt runs there is no other one.
    others = work.stages.running_of(stage.id) if is_late else []
    reason = "late, and nobody else had finished" if is_late else None
    work.move(attempt, AttemptState.SUCCEEDED, who=attempt.holder, reason=reason)
    attempt.finished_at = work.now
    work.move(stage, StageState.DONE, who=attempt.holder)
    for other in others:
        work.move(other, AttemptState.SUPERSEDED, who=attempt.holder)
    return stage


def fail(work: UnitOfWork, attempt: AttemptRow, failure: Failure, settings: Settings) -> None:
    """Take an attempt's failure: hand the stage out again, or fail it, as its class demands.

    A report of an attempt that is over already changes nothing.
    """
    if attempt.state != AttemptState.RUNNING:
        return
    attempt.failure = failure.to_json()
    why = f"{failure.failure_class}: {failure.reason}"
    work.move(attempt, AttemptState.FAILED, who=attempt.holder, reason=why)
    _spend(work, attempt, failure, settings)


def lose(work: UnitOfWork, attempt: AttemptRow, reason: str, settings: Settings) -> None:
    """Give an attempt up because its holder is gone."""
    if attempt.state != AttemptState.RUNNING:
        return
    stage = work.stages.stage(attempt.stage_id)
    work.move(attempt, AttemptState.LOST, who="server", reason=reason)
    attempt.finished_at = work.now
    _spend(work, attempt, Failure(stage.kind, "worker-lost", reason), settings)


def release(work: UnitOfWork, attempt: AttemptRow, reason: str) -> None:
    """Take a stage back unfinished, through no fault of its own: costs no attempt, no pause."""
    if attempt.state != AttemptState.RUNNING:
        return
    work.move(attempt, AttemptState.RELEASED, who=attempt.holder, reason=reason)
    stage = work.stages.stage(attempt.stage_id)
    work.move(stage, StageState.WAITING, who=attempt.holder, reason=reason)
    outcomes.taken_back(work, stage, reason)


def cancel(work: UnitOfWork, stage: StageRow, who: str, reason: str) -> None:
    """End a stage that nobody wants any more; its holder learns of it with the next heartbeat."""
    if is_final(stage.state):
        return
    for attempt in work.stages.running_of(stage.id):
        work.move(attempt, AttemptState.CANCELLED, who=who, reason=reason)
    work.move(stage, StageState.CANCELLED, who=who, reason=reason)


def _spend(work: UnitOfWork, attempt: AttemptRow, failure: Failure, settings: Settings) -> None:
    """Count an attempt against its stage: hand it out again or give it up."""
    stage = work.stages.stage(attempt.stage_id)
    stage.n_spent += 1
    is_retried = policy_of(stage.lane, failure.failure_class).is_retried
    if is_retried and stage.n_spent < settings.max_attempts:
        stage.available_at = work.now + timedelta(seconds=settings.retry_delay_s)
        reason = f"attempt {attempt.number} ended: {failure.reason}"
        work.move(stage, StageState.WAITING, who="server", reason=reason)
        outcomes.taken_back(work, stage, reason)
        return
    if is_retried:
        failure = Failure(
            failure.stage,
            failure.failure_class,
            f"{failure.reason} (given up after {stage.n_spent} attempts)",
            failure.layers,
            failure.log,
        )
    stage.failure = failure.to_json()
    work.move(stage, StageState.FAILED, who="server", reason=failure.reason)
    outcomes.failed(work, stage, failure)
