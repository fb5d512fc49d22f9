"""Work that takes longer than an answer should: done behind a 202, asked after by its id.

Depends on: the standard library. Kept in memory: a server that starts anew knows none of them, and
whoever asked asks again; what they compute follows from the database.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from stillhouse_service.errors import Conflict, NotFound, ServiceError
from stillhouse_service.ids import utc_now

_log = logging.getLogger(__name__)
_N_KEPT = 64


@dataclass(frozen=True)
class Operation:
    """A piece of long work.

    Attributes:
        id: `opn_` and 16 hexadecimal digits.
        kind: What it makes: `importance`, `report`, ...
        study_id: Of which study.
        state: `running`, `done` or `failed`.
        error: Why it failed.
        created_at: When it was asked for.
        finished_at: When it ended.
        result: What it made, and its media type.
    """

    id: str
    kind: str
    study_id: str
    state: Literal["running", "done", "failed"]
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    result: tuple[bytes, str] | None = None


class Operations:
    """Long work, one piece after the other."""

    def __init__(self, ring: Callable[[], None], clock: Callable[[], datetime] = utc_now) -> None:
        """Prepare; `ring` wakes who waits for news."""
        self._ring, self._clock = ring, clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Operation] = OrderedDict()
        self._known: dict[tuple[object, ...], str] = {}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="operation")

    def start(
        self, kind: str, study_id: str, version: object, act: Callable[[], tuple[bytes, str]]
    ) -> Operation:
        """Have something done, unless the same is under way or done already.

        Args:
            kind: What it makes.
            study_id: Of which study.
            version: Of what it is made from; another one is made anew.
            act: Makes it.
        """
        key = (kind, study_id, version)
        with self._lock:
            known = self._kept.get(self._known.get(key, ""))
            if known is not None and known.state != "failed":
                return known
            made = Operation(
                id=f"opn_{secrets.token_hex(8)}",
                kind=kind,
                study_id=study_id,
                state="running",
                error=None,
                created_at=self._clock(),
                finished_at=None,
            )
            self._kept[made.id], self._known[key] = made, made.id
            self._forget()
        self._pool.submit(self._do, made, act)
        return made

    def named(self, operation_id: str) -> Operation:
        """Find an operation.

        Raises:
            NotFound: There is none of this id, or no more.
        """
        with self._lock:
            found = self._kept.get(operation_id)
        if found is None:
            raise NotFound(f"no operation {operation_id}; ask again for what it was to make")
        return found

    def result(self, operation_id: str) -> tuple[bytes, str]:
        """Give what an operation made, and its media type.

        Raises:
            NotFound: There is none of this id, or no more.
            Conflict: It runs still, or has failed.
        """
        found = self.named(operation_id)
        if found.result is None:
            why = f": {found.error}" if found.error else ""
            raise Conflict(f"operation {operation_id} is {found.state}{why}")
        return found.result

    def stop(self) -> None:
        """Begin nothing more; what runs goes on until the process ends."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _do(self, made: Operation, act: Callable[[], tuple[bytes, str]]) -> None:
        try:
            ended = replace(made, state="done", result=act())
        except ServiceError as error:
            ended = replace(made, state="failed", error=str(error))
        except Exception:
            # Whoever waits must hear of it; the log has the reason.
            _log.exception("operation %s of %s", made.kind, made.study_id)
            reason = "the server failed on it; its log has the reason"
            ended = replace(made, state="failed", error=reason)
        with self._lock:
            self._kept[made.id] = replace(ended, finished_at=self._clock())
        self._ring()

    def _forget(self) -> None:
        over = [one for one in self._kept.values() if one.state != "running"]
        for one in over[: max(0, len(self._kept) - _N_KEPT)]:
            del self._kept[one.id]
        self._known = {key: name for key, name in self._known.items() if name in self._kept}
