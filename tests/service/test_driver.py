"""The driver's turns."""

from hypothesis import given
from hypothesis import strategies as st

from stillhouse_service.driver import in_turn


def test_whoever_comes_behind_the_last_one_is_next() -> None:
    assert in_turn(["c", "a", "b", "d"], "b", 3) == ["c", "d", "a"]
    assert in_turn(["a"], "a", 3) == ["a"]
    assert in_turn([], "a", 3) == []


@given(ids=st.sets(st.text("abc", min_size=1, max_size=3), min_size=1), n=st.integers(1, 5))
def test_everybody_has_a_turn(ids: set[str], n: int) -> None:
    last, seen = "", set()
    for _ in range(-(-len(ids) // n)):
        turn = in_turn(sorted(ids), last, n)
        assert len(turn) == len(set(turn)) == min(n, len(ids))
        seen.update(turn)
        last = turn[-1]
    assert seen == ids
