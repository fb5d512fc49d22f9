"""What a transaction has done to one thing, in words and as a span of time.

Depends on: tables. Told once it is committed: transition_log.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from stillhouse_service.states import AttemptState, BaselineState, TrialState, is_final
from stillhouse_service.tables import AttemptRow, BaselineRow, StageRow, StudyRow, TrialRow

_Row = BaselineRow | StudyRow | TrialRow | StageRow | AttemptRow
# A lost attempt is over for who watches, though a late result of it may still be taken.
_ENDED = frozenset(
    state
    for kind in (BaselineState, TrialState, AttemptState)
    for state in kind
    if is_final(state) or state == AttemptState.LOST
)
_FAILED = frozenset(
    {BaselineState.FAILED, TrialState.FAILED, AttemptState.FAILED, AttemptState.LOST}
)


@dataclass(frozen=True)
class Lived:
    """The life of what has moved, for a trace.

    Attributes:
        subject: Its id.
        name: What it is: `trial`, or the kind of an attempt's stage.
        state: It is in now.
        begun_at: When it was made or handed out.
        ended_at: When it ended; none: it has not.
        took_s: What is known of a time spent on it: by the optimizer before it was made, or by the
            device.
        error: Why it failed; none: it did not.
    """

    subject: str
    name: str
    state: str
    begun_at: datetime
    ended_at: datetime | None
    took_s: float | None
    error: str | None


@dataclass(frozen=True)
class Transition:
    """What a transaction has done to one thing.

    Attributes:
        kind: Of the event: `state`, `stage`, `attempt`, ...
        text: In words.
        ids: What it is about, by name: `study`, `trial`, `stage`, `lease`, `who`, ...
        row: Its life; none: it is no trial, baseline or attempt.
    """

    kind: str
    text: str
    ids: Mapping[str, str]
    row: Lived | None = None


@dataclass
class Spent:
    """Times that a transaction knows and no row keeps, in seconds.

    Attributes:
        proposal_s: What the optimizer took for the trials that are made.
        on_device_s: What the device says that it took, by the attempt's id.
    """

    proposal_s: float | None
    on_device_s: dict[str, float]


def describe(
    row: _Row,
    stage: StageRow | None,
    kind: str,
    who: str,
    before: str | None,
    after: str | None,
    reason: str | None,
    now: datetime,
    spent: Spent,
) -> Transition:
    """Say what has happened to a row.

    Args:
        row: Which.
        stage: An attempt's; the row itself where it is one.
        kind: Of the event.
        who: Did it.
        before: Its state was; none: it is new, or has none.
        after: Its state is.
        reason: Why.
        now: The transaction's time.
        spent: What it knows of times.
    """
    ids = {
        "study": row.id if isinstance(row, StudyRow) else getattr(row, "study_id", None),
        "trial": row.id if isinstance(row, TrialRow) else None,
        "baseline": row.id if isinstance(row, BaselineRow) else None,
        "lease": row.id if isinstance(row, AttemptRow) else None,
        "who": who,
    }
    if stage is not None:
        ids |= {"study": stage.study_id, "trial": stage.trial_id, "baseline": stage.baseline_id}
        ids |= {"stage": stage.id}
    moved = f"{before} -> {after}" if before and after else after or kind
    text = f"{row.__tablename__} {row.id}: {moved}" + (f" ({reason})" if reason else "")
    known = {name: one for name, one in ids.items() if one}
    return Transition(kind, text, known, _life_of(row, stage, reason, now, spent))


def _life_of(
    row: _Row, stage: StageRow | None, reason: str | None, now: datetime, spent: Spent
) -> Lived | None:
    match row:
        case TrialRow() | BaselineRow():
            name, begun_at = row.__tablename__, row.created_at
        case AttemptRow() if stage is not None:
            name, begun_at = stage.kind, row.started_at
        case _:
            return None
    ended_at = row.finished_at or now if row.state in _ENDED else None
    is_new = isinstance(row, TrialRow) and ended_at is None
    took_s = spent.proposal_s if is_new else spent.on_device_s.get(row.id)
    error = reason or str(row.state) if row.state in _FAILED else None
    return Lived(row.id, name, str(row.state), begun_at, ended_at, took_s, error)
