"""Every change of state as a line of the log, once it is committed.

Depends on: the standard library. The database's own log is the truth; this is for who watches.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lived:
    """The life of what has moved, for a trace.

    Attributes:
        subject: Its id.
        name: What it is: `trial`, or the kind of an attempt's stage.
        state: It is in now.
        begun_at: When it was made or handed out.
        ended_at: When it ended; none: it has not.
        took_s: What is known of the time in between: of the proposal before, or on the device.
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


def level_of(kind: str) -> int:
    """Say how much a line matters: a stage's own moves follow from its attempts'."""
    return logging.DEBUG if kind == "stage" else logging.INFO


def is_wanted(kind: str) -> bool:
    """Tell whether anybody would see such a line."""
    return _log.isEnabledFor(level_of(kind))


def tell(transitions: Sequence[Transition]) -> None:
    """Log what has been committed."""
    for one in transitions:
        if not is_wanted(one.kind):
            continue
        _log.log(level_of(one.kind), "%s", one.text, extra={"about": one.ids})
