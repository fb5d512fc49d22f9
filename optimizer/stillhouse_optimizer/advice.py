"""Reading a marginal curve: which way it goes, how plainly, and what to do about it.

Depends on: numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stillhouse_optimizer.parameter import Parameter, Value, same_value

Direction = Literal["up", "down", "peaked", "valley", "none"]

# A curve that spans less than this many of its own standard deviations says nothing.
_MIN_SPAN = 1.0
# Share of the curve's whole way up and down that leads one way, for it to count as monotone.
_MONOTONE = 0.6
# How far both ends must lie from an inner extreme, as a share of the span.
_BEND = 0.25


@dataclass(frozen=True)
class Reading:
    """A curve's direction as the parameter rises and its strength, 0..1."""

    direction: Direction
    strength: float


def read_curve(parameter: Parameter, mean: Sequence[float], sd: Sequence[float]) -> Reading:
    """Read the direction of a marginal curve.

    Args:
        parameter: Whose curve; a choice has no direction.
        mean: The curve.
        sd: Its uncertainty at the same points.

    Returns:
        The strength is the share of the curve's whole way that leads in the direction (up, down) or
        the smaller drop at its sides over its span (peaked, valley).
    """
    curve = np.asarray(mean)
    if parameter.kind == "choice" or len(curve) < 2:
        return Reading("none", 0.0)
    span = float(np.ptp(curve))
    if span <= 0.0 or span < _MIN_SPAN * float(np.mean(sd)):
        return Reading("none", 0.0)
    way = float(np.abs(np.diff(curve)).sum())
    net = float(curve[-1] - curve[0])
    if abs(net) >= _MONOTONE * way:
        return Reading("up" if net > 0 else "down", abs(net) / way)
    hill = float(curve.max() - max(curve[0], curve[-1])) / span
    pit = float(min(curve[0], curve[-1]) - curve.min()) / span
    if max(hill, pit) >= _BEND:
        return Reading("peaked", hill) if hill >= pit else Reading("valley", pit)
    return Reading("none", 0.0)


@dataclass(frozen=True)
class Recommendation:
    """Values to use.

    Attributes:
        text: A plain sentence.
        values: Least and largest value to use; the same twice where it is one, of a choice for
            instance. Empty: there is nothing to recommend.
        n_trials: Trials within the limits that it stands on.
    """

    text: str
    values: tuple[Value, ...] = ()
    n_trials: int = 0


def recommend(
    metric: str,
    limits: Sequence[str],
    wants_more: bool,
    x: Sequence[Value],
    mean: Sequence[float],
    reading: Reading,
    chosen: Sequence[Value],
    are_best: bool = True,
) -> Recommendation:
    """Say which values to use.

    Args:
        metric: What the curve shows.
        limits: The constraints, as text.
        wants_more: Whether more of the metric is better.
        x: Values of the parameter, ``mean`` the metric expected at each.
        mean: See ``x``.
        reading: Of that curve.
        chosen: Its values in trials that meet the limits, best first.
        are_best: Whether those are the best few, all of whose values count; else they are all
            trials within the limits, whose middle 80 % counts.
    """
    at = int(np.argmax(mean) if wants_more else np.argmin(mean))
    trend = {
        "up": f"{metric} rises with it",
        "down": f"{metric} falls as it rises",
        "peaked": f"{metric} is highest near {told(x[int(np.argmax(mean))])}",
        "valley": f"{metric} is lowest near {told(x[int(np.argmin(mean))])}",
        "none": f"{metric} is best at {told(x[at])} on average, without a trend",
    }[reading.direction]
    within = f" within {', '.join(limits)}" if limits else ""
    n = len(chosen)
    if not n:
        return Recommendation(
            f"{trend}; no trial is{within} yet, so there is no value to recommend."
        )
    who = f"the best {n} trials{within}" if are_best else f"the {n} trials{within}"
    numbers = sorted(v for v in chosen if isinstance(v, float | int) and not isinstance(v, bool))
    if len(numbers) == n and numbers[0] < numbers[-1]:
        cut = 0 if are_best else n // 10
        low, high = numbers[cut], numbers[n - 1 - cut]
        middle = "" if are_best or not cut else " (their middle 80 %)"
        text = f"{trend}; {who} use {told(low)} to {told(high)}{middle}."
        return Recommendation(text, (low, high), n)
    # The most frequent value; among equals the one of the better trial.
    favourite = max(chosen, key=lambda value: sum(same_value(value, v) for v in chosen))
    n_favour = sum(same_value(favourite, v) for v in chosen)
    text = f"{trend}; {n_favour} of {who} use {told(favourite)}."
    return Recommendation(text, (favourite, favourite), n)


def told(value: Value) -> str:
    """Write a parameter's value for a sentence."""
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "null"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
