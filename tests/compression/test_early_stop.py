"""A training ends early only where the accuracy that is wanted is out of reach."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_compression.early_stop import EarlyStop


def _curves(n: int, *top1: float) -> list[dict[str, Any]]:
    return [{"top1": list(top1), "final": top1[-1]} for _ in range(n)]


def test_earlier_factors_say_what_may_be_hoped_for() -> None:
    # Earlier trainings halved their error from half-time to the end: 0.2 to 0.1.
    rule = EarlyStop("bold", 0.9, _curves(5, 0.7, 0.8, 0.85, 0.9))
    assert rule.reachable([0.5, 0.6], 4) == pytest.approx(1 - 0.4 * 0.5)
    assert rule.is_lost([0.5, 0.6], 4)
    assert not rule.is_lost([0.5, 0.81], 4)  # 0.905 may be reached


def test_cautious_hopes_for_more_than_was_ever_seen() -> None:
    curves = [*_curves(7, 0.7, 0.8, 0.85, 0.9), *_curves(1, 0.7, 0.8, 0.85, 0.95)]
    rule = EarlyStop("cautious", 0.9, curves)
    # The best of eight left a quarter of its error, and a training may do twice as well.
    assert rule.reachable([0.15, 0.1], 4) == pytest.approx(1 - 0.85 * 0.25 * 0.5)
    assert rule.is_lost([0.15, 0.1], 4)  # 0.89; a single bad epoch counts for nothing
    assert not rule.is_lost([0.4, 0.5], 4)


def test_a_curve_that_falls_at_its_end_does_not_lower_the_hope() -> None:
    rule = EarlyStop("bold", 0.9, _curves(5, 0.95, 0.9))
    assert rule.reachable([0.85, 0.88], 4) == pytest.approx(0.88)


@pytest.mark.parametrize(("mode", "n"), [("cautious", 7), ("bold", 4)])
def test_with_too_few_curves_nothing_is_judged(mode: str, n: int) -> None:
    rule = EarlyStop(mode, 0.9, _curves(n, 0.7, 0.8, 0.85, 0.9))
    assert rule.reachable([0.1, 0.1], 4) is None
    assert not rule.is_lost([0.1, 0.1], 4)


def test_a_training_at_its_end_or_its_very_beginning_is_not_ended() -> None:
    rule = EarlyStop("cautious", 0.9, _curves(8, 0.7, 0.8, 0.85, 0.9))
    assert not rule.is_lost([0.1] * 4, 4)
    assert not rule.is_lost([0.1, 0.1], 10)


top1 = st.floats(0.0, 1.0)


@given(
    st.sampled_from(["cautious", "bold"]),
    st.lists(st.lists(top1, min_size=1, max_size=6), min_size=8, max_size=12),
    st.lists(top1, min_size=1, max_size=5),
    top1,
)
def test_what_is_reached_already_is_never_out_of_reach(
    mode: str, curves: list[list[float]], done: list[float], wanted: float
) -> None:
    rule = EarlyStop(mode, wanted, [{"top1": one, "final": one[-1]} for one in curves])
    best = rule.reachable(done, 6)
    assert best is None or done[-1] <= best <= 1.0
    if done[-1] >= wanted:
        assert not rule.is_lost(done, 6)
