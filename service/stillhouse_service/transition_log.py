"""Every change of state as a line of the log and, where wanted, a span, once it is committed.

Depends on: tracing. The database's own log is the truth; this is for who watches.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from stillhouse_service import tracing
from stillhouse_service.transitions import Transition

_log = logging.getLogger(__name__)


def is_wanted(kind: str) -> bool:
    """Tell whether anybody would see an event of a kind."""
    return tracing.is_on() or _log.isEnabledFor(_level_of(kind))


def tell(transitions: Sequence[Transition]) -> None:
    """Tell what has been committed."""
    for one in transitions:
        _log.log(_level_of(one.kind), "%s", one.text, extra={"about": one.ids})
    tracing.tell(transitions)


def _level_of(kind: str) -> int:
    """Say how much a line matters: a stage's own moves follow from its attempts'."""
    return logging.DEBUG if kind == "stage" else logging.INFO
