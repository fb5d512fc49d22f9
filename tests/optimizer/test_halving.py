"""Who goes on to the next rung, by hand and for any results."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_optimizer.halving import Climber, highest, lifted, promotable, status_of_low
from stillhouse_optimizer.spec import Problem

PROBLEM = Problem.from_mapping(
    {
        "parameters": [{"name": "x", "kind": "float", "low": 0.0, "high": 1.0}],
        "constraints": ["top1_drop <= 0.02"],
    }
)


def _at(key: str, rung: int, ratio: float | None, drop: float = 0.0, of: str = "") -> Climber:
    metrics = None if ratio is None else {"latency_ratio": ratio, "top1_drop": drop}
    return Climber(key, rung, metrics, came_from=of or None)


def _next(climbers: list[Climber], is_last: bool = False) -> str | None:
    return promotable(PROBLEM, climbers, 3, 3, is_last)


def test_the_best_third_goes_on_as_soon_as_there_is_one() -> None:
    climbers = [_at("a", 0, 0.9), _at("b", 0, 0.7)]
    assert _next(climbers) is None  # of two, not one goes on yet
    climbers.append(_at("c", 0, 0.8))
    assert _next(climbers) == "b"
    climbers.append(Climber("b1", 1, None, is_open=True, came_from="b"))
    assert _next(climbers) is None
    climbers += [_at("d", 0, 0.6), _at("e", 0, 0.95), _at("f", 0, 0.99)]
    assert _next(climbers) == "d"  # of six two: b has gone on


def test_what_is_saved_counts_as_much_as_it_is_likely_to_be_had() -> None:
    # Of the worst, 1.0, they save 0.2 and 0.8. Both have lost much after one epoch and nobody has
    # come further, so that both may still keep the limit: the four times faster one goes on.
    dense, some, much = _at("dense", 0, 1.0, 0.0), _at("a", 0, 0.8, 0.10), _at("b", 0, 0.2, 0.20)
    assert _next([dense, some, much]) == "b"
    # Three like it have been trained to the end, and still lack as much: it will, too.
    like = [_at(f"l{i}", 0, 0.9, 0.20) for i in range(3)]
    like += [_at(f"m{i}", 1, 0.9, 0.20, of=f"l{i}") for i in range(3)]
    like += [_at(f"t{i}", 2, 0.9, 0.20, of=f"m{i}") for i in range(3)]
    others = [_at(f"o{i}", 0, 0.99, 0.10) for i in range(9)]
    near = _at("near", 0, 0.8, 0.03)
    assert _next([dense, near, much, *others, *like]) == "near"


def test_who_is_no_faster_than_one_that_keeps_the_limit_at_the_top_stays() -> None:
    climbers = [_at(f"a{i}", 0, 0.8 + 0.01 * i) for i in range(6)]
    climbers += [_at("b0", 1, 0.8, of="a0"), _at("c0", 2, 0.8, of="b0")]
    assert _next(climbers) is None  # of six two may go on, but a1 is slower than a0
    climbers[0] = _at("a0", 0, 0.9)
    climbers[-1] = _at("c0", 2, 0.9, drop=0.05, of="b0")
    assert _next(climbers) == "a1"  # a0 has come to nothing


def test_the_highest_rung_goes_first() -> None:
    low = [_at(f"a{i}", 0, 0.5 + 0.01 * i) for i in range(12)]
    middle = [_at(f"b{i}", 1, 0.5 + 0.01 * i, of=f"a{i}") for i in range(3)]
    assert _next([*low, *middle]) == "b0"
    top = Climber("c0", 2, None, is_open=True, came_from="b0")
    assert _next([*low, *middle, top]) == "a3"


def test_the_place_of_one_that_disappointed_is_the_next_ones_but_not_at_the_lowest_rung() -> None:
    low = [_at(f"a{i}", 0, 0.5 + 0.01 * i) for i in range(9)]
    middle = [_at(f"b{i}", 1, 0.5 + 0.01 * i, of=f"a{i}") for i in range(3)]
    top = [_at("c0", 2, 0.5, drop=0.10, of="b0")]
    assert _next([*low, *middle, *top]) == "b1"  # one of three holds the place: c0 no longer
    top.append(_at("c1", 2, 0.51, drop=0.10, of="b1"))
    assert _next([*low, *middle, *top]) == "b2"
    top.append(_at("c2", 2, 0.52, drop=0.10, of="b2"))
    assert _next([*low, *middle, *top]) is None  # of nine three have gone on from the lowest


def test_failed_ones_count_and_never_go_on() -> None:
    climbers = [_at("a", 0, None), _at("b", 0, 0.9), _at("c", 0, 0.8)]
    assert _next(climbers) == "c"
    assert _next([_at(name, 0, None) for name in "abcdef"]) is None
    assert _next([_at(name, 0, None) for name in "abcdef"], is_last=True) is None
    # One that failed further up frees its place there as well.
    low = [_at(f"a{i}", 0, 0.5 + 0.01 * i) for i in range(9)]
    middle = [_at(f"b{i}", 1, 0.5 + 0.01 * i, of=f"a{i}") for i in range(3)]
    assert _next([*low, *middle, _at("c0", 2, None, of="b0")]) == "b1"


def test_at_the_end_somebody_comes_to_the_top() -> None:
    climbers = [_at("a", 0, 0.9, 0.03), _at("b", 0, 0.8, 0.01)]
    assert _next(climbers, is_last=True) == "b"  # nobody has kept it: who is the likeliest to
    climbers.append(_at("b1", 1, 0.8, of="b"))
    assert _next(climbers, is_last=True) == "b1"
    climbers.append(_at("b2", 2, 0.8, of="b1"))
    assert _next(climbers, is_last=True) is None  # it keeps the limit: done


def test_low_rungs_are_moved_to_where_those_came_that_went_on() -> None:
    # Every config loses a tenth of what it lost a rung below: so will the one that stayed.
    climbers = [_at(f"a{i}", 0, 0.9, 0.01 * i) for i in range(60)]
    climbers += [_at(f"b{i}", 1, 0.9, 0.001 * i, of=f"a{i}") for i in range(59)]
    (low,) = (one for one in lifted(PROBLEM, climbers, 2) if one.key == "a59")
    assert low.metrics is not None
    # What was believed before counts as one or two configs more: the slope is 0.1 + 0.4 / 60.
    assert low.metrics["top1_drop"] == pytest.approx(0.059, abs=0.01)
    assert low.metrics["latency_ratio"] == 0.9  # training changes no latency
    top = [one for one in lifted(PROBLEM, climbers, 2) if one.rung == 1]
    assert top == climbers[60:]  # what was measured at the top stays


def test_the_less_a_rung_tells_the_more_alike_all_are_expected_to_be() -> None:
    # What they come to has nothing to do with where they were: all are expected in the middle.
    after = [0.01, 0.05, 0.02, 0.04] * 15
    climbers = [_at(f"a{i}", 0, 0.9, 0.005 * i) for i in range(60)]
    climbers += [_at(f"b{i}", 1, 0.9, d, of=f"a{i}") for i, d in enumerate(after)]
    climbers += [_at("good", 0, 0.9, 0.02), _at("bad", 0, 0.9, 0.28)]
    drops = {o.key: o.metrics["top1_drop"] for o in lifted(PROBLEM, climbers, 2) if o.metrics}
    assert drops["good"] == pytest.approx(0.03, abs=0.006)
    assert drops["bad"] == pytest.approx(0.03, abs=0.006)


def test_an_accuracy_of_a_low_rung_loses_its_interval() -> None:
    metrics = {"latency_ratio": 0.5, "top1_drop": 0.03, "top1_drop_high": 0.06, "top1": 0.9}
    (one,) = lifted(PROBLEM, [Climber("a", 0, metrics)], 2)
    assert one.metrics is not None and "top1_drop_high" not in one.metrics
    assert one.metrics["top1"] == 0.9  # nothing is limited in it


def test_low_rungs_stand_for_trials_only_until_a_few_have_come_to_the_top() -> None:
    low = [_at(f"a{i}", 0, 0.9) for i in range(4)]
    top = [_at(f"b{i}", 1, 0.9, of=f"a{i}") for i in range(3)]
    assert status_of_low([*low, *top[:2]], 2) == "complete"
    assert status_of_low([*low, *top], 2) == "stopped"


def test_of_each_config_the_highest_counts() -> None:
    climbers = [
        _at("a", 0, 0.9),
        _at("b", 0, 0.8),
        _at("b1", 1, 0.8, of="b"),
        Climber("b2", 2, None, is_open=True, came_from="b1"),
        _at("c", 0, None),
        Climber("d", 0, None, is_open=True),
    ]
    assert [one.key for one in highest(climbers)] == ["a", "b1", "c"]


results = st.lists(
    st.tuples(st.floats(0.1, 2.0), st.floats(-0.1, 0.5)) | st.none(), min_size=1, max_size=40
)


@given(results, st.integers(2, 4), st.integers(2, 5))
def test_climbing_ends_and_nobody_goes_on_twice(found: list[Any], n_rungs: int, eta: int) -> None:
    climbers = [
        _at(f"t{i}", 0, None if one is None else one[0], 0.0 if one is None else one[1])
        for i, one in enumerate(found)
    ]
    by_key = {one.key: one for one in climbers}
    gone: set[str] = set()
    while (key := promotable(PROBLEM, climbers, n_rungs, eta, is_last=True)) is not None:
        assert key not in gone
        gone.add(key)
        below = by_key[key]
        assert below.rung < n_rungs - 1 and below.metrics is not None
        above = Climber(f"{key}+", below.rung + 1, below.metrics, came_from=key)
        climbers.append(above)
        by_key[above.key] = above
    is_any = any(one is not None for one in found)
    assert any(one.rung == n_rungs - 1 for one in climbers) == is_any


@given(results, st.integers(2, 4), st.integers(2, 5))
def test_of_the_lowest_rung_one_in_so_many_goes_on_before_the_end(
    found: list[Any], n_rungs: int, eta: int
) -> None:
    climbers = [
        _at(f"t{i}", 0, None if one is None else one[0], 0.0 if one is None else one[1])
        for i, one in enumerate(found)
    ]
    while (key := promotable(PROBLEM, climbers, n_rungs, eta)) is not None:
        below = next(one for one in climbers if one.key == key)
        # Further up it turns out to lose more than may be lost: its place is free again.
        metrics = {**(below.metrics or {}), "top1_drop": 0.5}
        climbers.append(Climber(f"{key}+", below.rung + 1, metrics, came_from=key))
    assert sum(one.rung == 1 for one in climbers) <= len(found) // eta
