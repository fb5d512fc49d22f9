"""A hot chip is waited for, not for ever; one without a thermometer not at all."""

from __future__ import annotations

from typing import Callable

import pytest

from stillhouse_benchmark.cooling import cool_down


def falling(start_c: float, by_c: float) -> Callable[[], float]:
    """Cooler at every look."""
    now = [start_c + by_c]

    def look() -> float:
        now[0] -= by_c
        return now[0]

    return look


def test_a_chip_that_tells_no_temperature_is_not_waited_for() -> None:
    waits: list[float] = []
    assert cool_down(lambda: None, waits.append) == (None, False)
    assert waits == []


@pytest.mark.parametrize(
    ("start_c", "by_c", "n_waits", "end_c", "is_hot"),
    [
        (55.0, 1.0, 0, 55.0, False),
        (66.0, 2.0, 3, 60.0, False),  # 66, 64, 62, 60
        (90.0, 0.5, 30, 75.0, True),  # a minute of two seconds each
    ],
)
def test_timing_starts_at_sixty_degrees_or_after_a_minute(
    start_c: float, by_c: float, n_waits: int, end_c: float, is_hot: bool
) -> None:
    waits: list[float] = []
    assert cool_down(falling(start_c, by_c), waits.append) == (end_c, is_hot)
    assert len(waits) == n_waits
