"""Ask again and again until something is over, patient with a server that restarts.

Depends on: the standard library.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from stillhouse.errors import StillhouseError, WaitTimeout


class Waitable(Protocol):
    """Something with an end."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        ...


W = TypeVar("W", bound=Waitable)


def wait_until_over(
    ask: Callable[[], W],
    what: str,
    timeout_s: float | None = None,
    poll_s: float = 1.0,
    patience_s: float = 30.0,
    on_change: Callable[[W], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> W:
    """Ask every `poll_s` until the answer says it is over.

    Args:
        ask: Gets the thing as it is now.
        what: Names it in the error: `study std_1`.
        timeout_s: Longest wait; None waits as long as it takes.
        poll_s: Seconds between two questions.
        patience_s: How long the server may be silent before the wait is given up.
        on_change: Told of every answer that differs from the one before.
        clock: Seconds, never going back.
        sleep: Waits so many seconds.

    Raises:
        WaitTimeout: `timeout_s` went by.
        ConnectionFailed: The server was silent for longer than `patience_s`.
        ProblemError: It refused, or was unavailable for longer than that.
    """
    ends_at = None if timeout_s is None else clock() + timeout_s
    silent_since: float | None = None
    last: W | None = None
    while True:
        try:
            now = ask()
        except StillhouseError as error:
            silent_since = clock() if silent_since is None else silent_since
            if not error.is_passing or clock() - silent_since >= patience_s:
                raise
        else:
            silent_since = None
            if on_change is not None and now != last:
                on_change(now)
            last = now
            if now.is_over:
                return now
        if ends_at is not None and clock() >= ends_at:
            raise WaitTimeout(f"{what} is not over after {timeout_s:g} s")
        sleep(poll_s)
