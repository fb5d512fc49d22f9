"""When a training cannot reach the accuracy that is wanted of it: judged by its validation curve.

The least error (1 - top1) of a training so far shrinks from any point to the end by some factor;
single epochs go up and down. The factors of earlier trainings of the study, at the same share of
their epochs, say how much may still be hoped for; where even a hopeful factor leaves too many
errors, the rest is spared.

Depends on: numpy. Pure: earlier curves and this one's epochs in, a verdict out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MODES = ("off", "cautious", "bold")
# No error counts as smaller: half an image in 250. Else a factor would be 0 after one lucky epoch.
_LEAST_ERROR = 0.002


@dataclass(frozen=True)
class _Mode:
    n_curves: int  # earlier ones wanted
    hope: float  # a training may do better than the best of them by this factor


_MODES: Mapping[str, _Mode] = {
    "cautious": _Mode(n_curves=8, hope=0.5),
    "bold": _Mode(n_curves=5, hope=1.0),
}
_FROM = 0.3  # share of the epochs before which nothing is judged


@dataclass(frozen=True)
class EarlyStop:
    """What a training is held against.

    Attributes:
        mode: ``cautious`` or ``bold``.
        top1: Validation accuracy that it must reach, in [0, 1].
        curves: Of earlier trainings that went to their end: ``{"top1": [...], "final": x}``,
            validation accuracy after each epoch and of the network that came out.
    """

    mode: str
    top1: float
    curves: Sequence[Mapping[str, Any]]

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> EarlyStop:
        """Read what a task's order says."""
        return cls(str(data["mode"]), float(data["top1"]), list(data["curves"]))

    def reachable(self, done: Sequence[float], n_epochs: int) -> float | None:
        """Say which accuracy the training may still reach.

        Args:
            done: Validation accuracy after each epoch so far, at least one.
            n_epochs: Epochs in all.

        Returns:
            In [0, 1]; None where too little is known to say it.
        """
        mode = _MODES[self.mode]
        share = len(done) / n_epochs
        if len(done) >= n_epochs or share < _FROM:
            return None
        factors = [
            _error(float(curve["final"])) / _error(_at(curve["top1"], share))
            for curve in self.curves
            if curve["top1"]
        ]
        if len(factors) < mode.n_curves:
            return None
        # A training that is worse at its end than here is no reason to expect less than now.
        factor = min(1.0, *factors) * mode.hope
        best = max(done)
        return max(best, 1.0 - factor * _error(best))

    def is_lost(self, done: Sequence[float], n_epochs: int) -> bool:
        """Tell whether the accuracy that is wanted is out of reach."""
        best = self.reachable(done, n_epochs)
        return best is not None and best < self.top1


class TrainingStopped(Exception):
    """A training was ended early, as the rule of its study wants it; no failure.

    Attributes:
        reachable: Validation accuracy that it could have reached at best.
        history: As in `CompressedModel`.
        n_epochs: Epochs it would have had.
        saved_s: Seconds of training that were spared, at the pace so far.
    """

    def __init__(
        self,
        reason: str,
        reachable: float,
        history: Sequence[Mapping[str, Any]],
        n_epochs: int,
        saved_s: float,
    ) -> None:
        super().__init__(reason)
        self.reachable, self.history = reachable, list(history)
        self.n_epochs, self.saved_s = n_epochs, saved_s


def _error(top1: float) -> float:
    return max(1.0 - top1, _LEAST_ERROR)


def _at(curve: Sequence[float], share: float) -> float:
    """The best so far at a share of the epochs, between two epochs by a straight line."""
    at = np.arange(1, len(curve) + 1) / len(curve)
    return float(np.interp(share, at, np.maximum.accumulate(curve)))
