"""Pruning below a threshold that ramps up in two slopes, made for recurrent networks.

Depends on: torch, selection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from stillhouse_compression.schedule.arguments import (
    WEIGHTS,
    Arguments,
    ClassSpec,
    given,
    integer,
    number,
)
from stillhouse_compression.schedule.pruners.step import Cuts, MaskUpdate, PruningStep
from stillhouse_compression.schedule.selection import keep_above
from stillhouse_compression.schedule.window import Window


class BaiduRNNPruner:
    """Prunes below a threshold that rises slowly, then faster.

    Args:
        name: Instance name.
        q: Target magnitude of the threshold, e.g. the 90th percentile of the weights.
        ramp_epoch_offset: Epochs of the first slope.
        ramp_slope_mult: The second slope as a multiple of the first.
        weights: Parameter names.

    Source: Narang et al. 2017, "Exploring Sparsity in Recurrent Neural Networks", section 3,
    equation 1.
    """

    def __init__(
        self,
        name: str,
        q: float,
        ramp_epoch_offset: int,
        ramp_slope_mult: float,
        weights: Sequence[str],
    ) -> None:
        self.name = name
        self.q = q
        self.ramp_epoch_offset = ramp_epoch_offset
        self.ramp_slope_mult = ramp_slope_mult
        self.weights = frozenset(weights)
        # Of the first window that asks; another policy's window does not change it.
        self._start_slope: float | None = None

    def threshold(self, epoch: int, window: Window) -> float:
        """The threshold of an epoch, in units of weights."""
        step = window.frequency or 1
        ramp = window.start + self.ramp_epoch_offset
        if self._start_slope is None:
            length = 2 * (ramp - window.start) + 3 * (window.end - ramp)
            self._start_slope = (2 * self.q * step) / length
        start_slope = self._start_slope
        if epoch < ramp:
            return start_slope * (epoch - window.start + 1) / step
        ramp_slope = start_slope * self.ramp_slope_mult
        risen = start_slope * (ramp - window.start + 1)
        return (risen + ramp_slope * (epoch - ramp + 1)) / step

    def owns(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """The listed parameters."""
        return [name for name in parameters if name in self.weights]

    def masks(self, step: PruningStep) -> Iterator[MaskUpdate]:
        """Masks of what is above the epoch's threshold."""
        threshold = self.threshold(step.epoch, step.window)
        for name in self.owns(step.parameters):
            yield MaskUpdate(name, keep_above(step.weight(name), threshold))

    def cut(self, cuts: Mapping[str, Cuts]) -> None:
        """The slope does not depend on shapes."""

    def state_dict(self) -> dict[str, Any]:
        """The slope."""
        return {"start_slope": self._start_slope}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it over."""
        self._start_slope = state["start_slope"]


def _window(arguments: Arguments, window: Window) -> str | None:
    if window.frequency is None:
        return "BaiduRNNPruner needs starting_epoch, ending_epoch and frequency, not epochs"
    length = 3 * (window.end - window.start) - arguments["ramp_epoch_offset"]
    if length <= 0:
        return (
            f"ramp_epoch_offset ({arguments['ramp_epoch_offset']}) is too long for a window of "
            f"{window.end - window.start} epochs; wanted less than three times the window"
        )
    return None


CLASSES = (
    ClassSpec(
        "BaiduRNNPruner",
        "pruners",
        (
            given("q", number(0.0, open_low=True)),
            given("ramp_epoch_offset", integer(0)),
            given("ramp_slope_mult", number(0.0)),
            WEIGHTS,
        ),
        lambda name, args, building: BaiduRNNPruner(name, **args),
        window=_window,
    ),
)
