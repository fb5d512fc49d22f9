"""Every change of state as a line of the log, once it is committed.

Depends on: the standard library. The database's own log is the truth; this is for who watches.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transition:
    """What a transaction has done to one thing.

    Attributes:
        kind: Of the event: `state`, `stage`, `attempt`, ...
        text: In words.
        ids: What it is about, by name: `study`, `trial`, `stage`, `lease`, `holder`, ...
    """

    kind: str
    text: str
    ids: Mapping[str, str]


def level_of(kind: str) -> int:
    """Say how much a line matters: a stage's own moves follow from its attempts'."""
    return logging.DEBUG if kind == "stage" else logging.INFO


def is_wanted(kind: str) -> bool:
    """Tell whether anybody would see such a line."""
    return _log.isEnabledFor(level_of(kind))


def tell(transitions: Sequence[Transition]) -> None:
    """Log what has been committed."""
    for one in transitions:
        _log.log(level_of(one.kind), "%s", one.text, extra={"about": one.ids})
