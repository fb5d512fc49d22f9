"""When a policy is active.

Depends on: the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """The epochs in which a policy acts.

    Attributes:
        start: First epoch.
        end: One past the last epoch of the window.
        frequency: Step between active epochs; None when ``epochs`` lists them.
        epochs: Explicit epochs, or None.
    """

    start: int
    end: int
    frequency: int | None = 1
    epochs: tuple[int, ...] | None = None

    @classmethod
    def of_epochs(cls, epochs: list[int]) -> Window:
        """The window that an explicit list means; its bounds follow the original's metadata."""
        return cls(epochs[0], epochs[-1] + 1, None, tuple(epochs))

    def is_active(self, epoch: int) -> bool:
        """Whether the policy gets callbacks in ``epoch``."""
        if self.epochs is not None:
            return epoch in self.epochs
        step = self.frequency or 1
        return self.start <= epoch < self.end and (epoch - self.start) % step == 0

    @property
    def last_active(self) -> int:
        """The last epoch in which the policy acts; what it finalises, it finalises here."""
        if self.epochs is not None:
            return max(self.epochs)
        step = self.frequency or 1
        return self.start + ((self.end - self.start - 1) // step) * step


ALWAYS = Window(0, 2**62)
"""Every epoch: for what a schedule gives no window."""
