"""Who goes on to the next rung, by hand and for any results."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_optimizer.halving import Climber, highest, lifted, promotable
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


def test_a_limit_that_is_kept_goes_before_a_better_objective() -> None:
    climbers = [_at("a", 0, 0.5, 0.10), _at("b", 0, 0.9, 0.01), _at("c", 0, 0.8, 0.05)]
    assert _next(climbers) == "b"
    climbers = [_at("a", 0, 0.5, 0.10), _at("b", 0, 0.9, 0.06), _at("c", 0, 0.8, 0.05)]
    assert _next(climbers) == "c"  # nobody keeps it: who misses it by the least


def test_the_highest_rung_goes_first() -> None:
    low = [_at(f"a{i}", 0, 0.5 + 0.01 * i) for i in range(12)]
    middle = [_at(f"b{i}", 1, 0.5 + 0.01 * i, of=f"a{i}") for i in range(3)]
    assert _next([*low, *middle]) == "b0"
    top = _at("c0", 2, 0.5, of="b0")
    assert _next([*low, *middle, top]) == "a3"


def test_failed_ones_count_and_never_go_on() -> None:
    climbers = [_at("a", 0, None), _at("b", 0, None), _at("c", 0, 0.8)]
    assert _next(climbers) == "c"
    assert _next([_at(name, 0, None) for name in "abcdef"]) is None
    assert _next([_at(name, 0, None) for name in "abcdef"], is_last=True) is None


def test_at_the_end_somebody_comes_to_the_top() -> None:
    climbers = [_at("a", 0, 0.9), _at("b", 0, 0.8)]
    assert _next(climbers, is_last=True) == "b"
    climbers.append(_at("b1", 1, 0.8, of="b"))
    assert _next(climbers, is_last=True) == "b1"
    climbers.append(_at("b2", 2, 0.8, of="b1"))
    assert _next(climbers, is_last=True) is None  # it keeps the limit: done
    climbers[-1] = _at("b2", 2, 0.8, drop=0.05, of="b1")
    assert _next(climbers, is_last=True) is None or _next(climbers, is_last=True) == "a"


def test_low_rungs_are_moved_by_what_those_gained_that_went_on() -> None:
    climbers = [
        _at("a", 0, 0.9, 0.06),
        _at("b", 0, 0.8, 0.05),
        _at("c", 0, 0.7, 0.05),
        _at("b1", 1, 0.8, 0.02, of="b"),  # 0.03 less is lost than a rung below
        _at("c1", 1, 0.7, 0.01, of="c"),  # 0.04 less
        _at("b2", 2, 0.8, 0.01, of="b1"),  # and 0.01 less from there to the top
    ]
    drops = {
        one.key: one.metrics["top1_drop"] for one in lifted(PROBLEM, climbers, 3) if one.metrics
    }
    assert drops["a"] == pytest.approx(0.06 - 0.035 - 0.01)
    assert drops["c1"] == pytest.approx(0.01 - 0.01)
    assert drops["b2"] == pytest.approx(0.01)
    ratios = [one.metrics["latency_ratio"] for one in lifted(PROBLEM, climbers, 3) if one.metrics]
    assert ratios == [0.9, 0.8, 0.7, 0.8, 0.7, 0.8]  # training changes no latency


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
