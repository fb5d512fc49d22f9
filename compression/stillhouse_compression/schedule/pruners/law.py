"""How the target sparsity moves over a policy's window.

Depends on: the standard library.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from stillhouse_compression.schedule.arguments import FRACTION, Arguments, given
from stillhouse_compression.schedule.window import Window


class Target(Protocol):
    """The sparsity to reach in an epoch."""

    def sparsity(self, epoch: int, window: Window) -> float:
        """Fraction to prune, in [0, 1]."""
        ...


@dataclass(frozen=True)
class Constant:
    """The same sparsity in every epoch."""

    level: float

    def sparsity(self, epoch: int, window: Window) -> float:
        """The level."""
        return self.level


@dataclass(frozen=True)
class Drawn:
    """A new sparsity at every question, uniform over a range (Python's ``random``)."""

    low: float
    high: float

    def sparsity(self, epoch: int, window: Window) -> float:
        """A draw."""
        return random.uniform(self.low, self.high)


@dataclass(frozen=True)
class Gradual:
    """Fast at first, slower and slower, from ``initial`` to ``final``.

    ``final + (initial - final) * (1 - (epoch - start) / span) ** 3``, where the span ends at
    the last active epoch, so that the final sparsity is really reached.

    Source: Zhu and Gupta 2017, "To prune, or not to prune", section 3, equation 1.
    """

    initial: float
    final: float

    def sparsity(self, epoch: int, window: Window) -> float:
        """The law's value at ``epoch``."""
        progress = (epoch - window.start) / span(window)
        return self.final + (self.initial - self.final) * (1.0 - progress) ** 3


def span(window: Window) -> int:
    """Epochs from the first to the last active one; 0 for a list of epochs."""
    if window.frequency is None:
        return 0
    return ((window.end - window.start - 1) // window.frequency) * window.frequency


GRADUAL_ARGUMENTS = (given("initial_sparsity", FRACTION), given("final_sparsity", FRACTION))


def gradual_faults(arguments: Arguments) -> Iterable[tuple[str, str]]:
    """The law only rises."""
    initial, final = arguments["initial_sparsity"], arguments["final_sparsity"]
    if final <= initial:
        yield "final_sparsity", f"found {final:g}, wanted more than initial_sparsity ({initial:g})"


def gradual_window(arguments: Arguments, window: Window) -> str | None:
    """The law needs a range of at least two active epochs."""
    if window.frequency is None:
        return "gradual pruning needs starting_epoch, ending_epoch and frequency, not epochs"
    if span(window) == 0:
        return (
            "gradual pruning needs at least two active epochs, found one "
            f"({window.start} to {window.end} by {window.frequency})"
        )
    return None
