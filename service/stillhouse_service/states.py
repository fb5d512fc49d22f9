"""Which states a baseline, study, trial, stage and attempt may be in, and which may follow which.

Depends on: the standard library. The tables below are the whole state machine; `UnitOfWork.move`
walks it inside a transaction and writes the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from stillhouse_service.errors import IllegalTransition


class BaselineState(StrEnum):
    """Where the training of a baseline stands."""

    QUEUED = "queued"
    TRAINING = "training"
    COMPLETE = "complete"
    FAILED = "failed"


class StudyState(StrEnum):
    """Where a study stands."""

    CHECKING = "checking"  # the device has not yet run the baseline
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    REJECTED = "rejected"  # what only the device could find
    FAILED = "failed"  # the check could not be done at all


class TrialState(StrEnum):
    """Where a trial stands."""

    QUEUED = "queued"
    ASKED = "asked"  # in the hands of whoever asked for it; only where no network is compressed
    COMPRESSING = "compressing"
    COMPRESSED = "compressed"
    BENCHMARKING = "benchmarking"
    COMPLETE = "complete"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"  # the device cannot run it: layer, memory
    CANCELLED = "cancelled"
    STOPPED = "stopped"  # ended early on purpose: it could not have won


class StageState(StrEnum):
    """Where one piece of work (a training, a compression, a device job) stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


# The kinds of stages that bring a trial on, and never its study but through the trial.
STEPS = frozenset({"sketch", "probe", "compress", "benchmark", "asked"})


class AttemptState(StrEnum):
    """What became of one handing-out of a stage."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"  # the lease ran out, or the worker died
    RELEASED = "released"  # handed back unfinished; costs no attempt
    SUPERSEDED = "superseded"  # another attempt of the stage finished first
    CANCELLED = "cancelled"


BASELINE_MOVES: Mapping[BaselineState, frozenset[BaselineState]] = {
    # straight to complete: a late result of a worker that was given up
    BaselineState.QUEUED: frozenset(
        {BaselineState.TRAINING, BaselineState.COMPLETE, BaselineState.FAILED}
    ),
    # back to queued: the worker was lost and the stage is handed out again
    BaselineState.TRAINING: frozenset(
        {BaselineState.QUEUED, BaselineState.COMPLETE, BaselineState.FAILED}
    ),
    BaselineState.COMPLETE: frozenset(),
    BaselineState.FAILED: frozenset(),
}

STUDY_MOVES: Mapping[StudyState, frozenset[StudyState]] = {
    StudyState.CHECKING: frozenset(
        {StudyState.RUNNING, StudyState.REJECTED, StudyState.FAILED, StudyState.CANCELLED}
    ),
    StudyState.RUNNING: frozenset(
        {StudyState.PAUSED, StudyState.FINISHED, StudyState.CANCELLED, StudyState.FAILED}
    ),
    # straight to finished: paused while the incumbent was being measured on the test split
    StudyState.PAUSED: frozenset({StudyState.RUNNING, StudyState.FINISHED, StudyState.CANCELLED}),
    StudyState.FINISHED: frozenset(),
    StudyState.CANCELLED: frozenset(),
    StudyState.REJECTED: frozenset(),
    StudyState.FAILED: frozenset(),
}

_TRIAL_ENDS = frozenset(
    {TrialState.FAILED, TrialState.UNSUPPORTED, TrialState.CANCELLED, TrialState.STOPPED}
)
TRIAL_MOVES: Mapping[TrialState, frozenset[TrialState]] = {
    # straight to compressed or complete: a late result or tell of somebody who was given up, taken
    # because nobody else has finished
    TrialState.QUEUED: _TRIAL_ENDS
    | {TrialState.COMPRESSING, TrialState.COMPRESSED, TrialState.ASKED, TrialState.COMPLETE},
    # back to queued: its asker's time is over and it is handed out again
    TrialState.ASKED: _TRIAL_ENDS | {TrialState.QUEUED, TrialState.COMPLETE},
    # one step back: the worker was lost and the stage is handed out again
    TrialState.COMPRESSING: _TRIAL_ENDS | {TrialState.QUEUED, TrialState.COMPRESSED},
    # straight to complete: a late result of a lost lease, taken because nobody else has finished
    TrialState.COMPRESSED: _TRIAL_ENDS | {TrialState.BENCHMARKING, TrialState.COMPLETE},
    TrialState.BENCHMARKING: _TRIAL_ENDS | {TrialState.COMPRESSED, TrialState.COMPLETE},
    TrialState.COMPLETE: frozenset(),
    TrialState.FAILED: frozenset(),
    TrialState.UNSUPPORTED: frozenset(),
    TrialState.CANCELLED: frozenset(),
    TrialState.STOPPED: frozenset(),
}

STAGE_MOVES: Mapping[StageState, frozenset[StageState]] = {
    StageState.WAITING: frozenset(
        {StageState.RUNNING, StageState.DONE, StageState.FAILED, StageState.CANCELLED}
    ),
    StageState.RUNNING: frozenset(
        {StageState.WAITING, StageState.DONE, StageState.FAILED, StageState.CANCELLED}
    ),
    StageState.DONE: frozenset(),
    StageState.FAILED: frozenset(),
    StageState.CANCELLED: frozenset(),
}

ATTEMPT_MOVES: Mapping[AttemptState, frozenset[AttemptState]] = {
    AttemptState.RUNNING: frozenset(AttemptState) - {AttemptState.RUNNING},
    # a late report of a lost lease is taken if nobody else has finished
    AttemptState.LOST: frozenset({AttemptState.SUCCEEDED}),
    AttemptState.SUCCEEDED: frozenset(),
    AttemptState.FAILED: frozenset(),
    AttemptState.RELEASED: frozenset(),
    AttemptState.SUPERSEDED: frozenset(),
    AttemptState.CANCELLED: frozenset(),
}

AnyState = BaselineState | StudyState | TrialState | StageState | AttemptState

# By type: members of two kinds may be equal as strings (`failed`).
_MOVES: Mapping[type[StrEnum], Mapping[Any, frozenset[Any]]] = {
    BaselineState: BASELINE_MOVES,
    StudyState: STUDY_MOVES,
    TrialState: TRIAL_MOVES,
    StageState: STAGE_MOVES,
    AttemptState: ATTEMPT_MOVES,
}


def is_final(state: AnyState) -> bool:
    """Tell whether nothing may follow `state`."""
    return not _MOVES[type(state)][state]


def check_move(before: AnyState, after: AnyState, what: str) -> None:
    """Refuse a transition that the tables above do not list.

    Args:
        before: State as stored.
        after: State asked for; of the same kind.
        what: The thing that moves, for the message: `trial trl_1`.

    Raises:
        IllegalTransition: `after` may not follow `before`.
    """
    if after not in _MOVES[type(before)][before]:
        raise IllegalTransition(f"{what} is {before} and cannot become {after}")
