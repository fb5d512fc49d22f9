"""The database's clock, as a server goes on with it."""

from datetime import UTC, datetime, timedelta

import pytest

from stillhouse_service import database_clock
from stillhouse_service.database_clock import DatabaseClock

_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class _Steady:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> _Steady:
    made = _Steady()
    monkeypatch.setattr(database_clock, "time", made)
    return made


def test_until_it_is_told_a_time_it_is_this_machines(steady: _Steady) -> None:
    assert abs(DatabaseClock()() - datetime.now(UTC)) < timedelta(minutes=1)


def test_it_goes_on_from_what_it_was_told(steady: _Steady) -> None:
    clock = DatabaseClock()
    clock.set(_NOON)
    steady.now_s += 90.0
    assert clock() == _NOON + timedelta(seconds=90)


def test_a_time_that_is_heard_late_does_not_set_it_back(steady: _Steady) -> None:
    clock = DatabaseClock()
    clock.set(_NOON)
    steady.now_s += 0.1
    clock.set(_NOON - timedelta(seconds=0.2))  # told before, heard after
    assert clock() == _NOON + timedelta(seconds=0.1)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_was_set_is_followed(steady: _Steady, hours: int) -> None:
    clock = DatabaseClock()
    clock.set(_NOON)
    clock.set(_NOON + timedelta(hours=hours))
    assert clock() == _NOON + timedelta(hours=hours)
