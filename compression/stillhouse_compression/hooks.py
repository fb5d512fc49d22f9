"""What a running training or compression asks of whoever started it.

Depends on: the standard library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from stillhouse_compression.errors import Cancelled
from stillhouse_compression.lock import HostLock

Progress = Mapping[str, float | int | str]


def _say_nothing(progress: Progress) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Hooks:
    """The doors out of a task.

    Attributes:
        progress: Told after every epoch and at every stage, e.g. ``{"stage": "training",
            "epoch": 3, "epochs": 8, "loss": 0.12, "top1": 0.98}``.
        is_cancelled: Asked before every minibatch; True ends the task with `Cancelled`.
        host_lock: Held for every minibatch; None where no device shares this machine.
        save_checkpoint: Given the training's whole state after every epoch; None: not wanted.
        load_checkpoint: Asked once, at the start, for the last state that was saved, if any.
    """

    progress: Callable[[Progress], None] = _say_nothing
    is_cancelled: Callable[[], bool] = _never
    host_lock: HostLock | None = None
    save_checkpoint: Callable[[bytes], None] | None = None
    load_checkpoint: Callable[[], bytes | None] | None = None

    def minibatch(self) -> AbstractContextManager[None]:
        """Enter a minibatch: leave if cancelled, wait while a device is timing.

        Raises:
            Cancelled: Somebody asked for the end.
        """
        if self.is_cancelled():
            raise Cancelled("cancelled")
        return self.on_host()

    def on_host(self) -> AbstractContextManager[None]:
        """Enter other work that would disturb a timing: loading, thinning, export."""
        return nullcontext() if self.host_lock is None else self.host_lock.minibatch()
