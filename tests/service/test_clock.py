"""The server's clock is set by an hour while a study runs: nothing is lost for ever or doubled."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from stillhouse import Client
from stillhouse_service.clock import ClockWatch
from stillhouse_service.ids import utc_now

HOUR = timedelta(hours=1)
OUTSIDE = {
    "name": "outside",
    "runner": "outside",
    "parameters": [{"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}],
    "objectives": ["loss"],
    "budget": {"trials": 3, "wall_s": 600.0},
}


class _Clock:
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.shift = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.shift


def _until(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def _noticed(server: Any, n: int) -> bool:
    events = server.get("/v1/events?page_size=1000")["items"]
    return [event["kind"] for event in events].count("clock") == n


@pytest.mark.parametrize(
    ("database", "jumps"),
    [("sqlite", [HOUR, -HOUR]), ("postgres", [-HOUR, HOUR])],
    indirect=["database"],
    ids=["forwards", "backwards"],
)
def test_a_study_goes_on_while_its_clock_is_set(
    serve: Any, connect: Any, jumps: list[timedelta]
) -> None:
    clock = _Clock()
    server = serve(clock=clock, lease_s=2.0, device_ttl_s=5.0)
    study = server.study(budget={"trials": 2})
    host = connect(server)
    lease = host.lease()
    for n, jump in enumerate(jumps, start=1):
        clock.shift += jump
        _until(lambda n=n: _noticed(server, n))  # type: ignore[misc]  # bound at once
        assert host.tell(lease, "heartbeat").status_code == 200  # it is still this host's
    assert host.measure(lease).status_code == 204
    host.play(server, study, [0.5, 0.6])
    trials = server.get(f"/v1/studies/{study}/trials")["items"]
    assert [trial["state"] for trial in trials] == ["complete", "complete"]
    assert server.get(f"/v1/studies/{study}")["state"] == "finished"
    for trial in trials:
        measured = server.get(f"/v1/trials/{trial['id']}")["measurements"]
        assert [one["purpose"] for one in measured].count("trial") == 1
    events = server.get(f"/v1/studies/{study}/events?page_size=1000")["items"]
    assert [e["reason"] for e in events if e["after"] == "lost"] == []


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forwards", "backwards"])
def test_a_lease_whose_host_has_died_ends_in_its_time_whatever_the_clock_says(
    serve: Any, connect: Any, jump: timedelta
) -> None:
    clock = _Clock()
    server = serve(clock=clock, lease_s=1.0)
    server.study()
    gone = connect(server, "gone")
    lease = gone.lease()
    clock.shift += jump
    _until(lambda: _noticed(server, 1))
    begun = time.monotonic()
    again = connect(server, "next").lease(wait_s=15.0)
    assert time.monotonic() - begun < 10
    assert again["job"]["id"] == lease["job"]["id"]


def test_a_budget_of_time_and_an_askers_lease_do_not_end_with_the_clocks_hour(serve: Any) -> None:
    clock = _Clock()
    server = serve(clock=clock)
    with Client(server.url) as client:
        study = client.studies.create(OUTSIDE)
        (one,) = client.studies.ask(study.id, lease_s=60)
        clock.shift = HOUR
        _until(lambda: _noticed(server, 1))
        assert client.trials.extend(one, 60)
        assert client.trials.tell(one, {"loss": 1.0}).state == "complete"
        assert len(client.studies.ask(study.id, 2)) == 2  # its ten minutes are not over
        clock.shift = timedelta(0)
        _until(lambda: _noticed(server, 2))
        assert client.studies.get(study.id).state == "running"


def test_a_server_that_starts_with_an_earlier_clock_keeps_no_lease_for_an_hour(
    serve: Any, connect: Any
) -> None:
    ahead = serve(clock=lambda: utc_now() + HOUR, lease_s=1.0)
    ahead.study()
    connect(ahead, "gone").lease()
    ahead.stop()
    server = serve(lease_s=1.0)
    begun = time.monotonic()
    assert connect(server, "next").lease(wait_s=15.0)["job"]
    assert time.monotonic() - begun < 12


def test_a_slow_machine_is_no_clock_that_was_set(server: Any) -> None:
    steady = [0.0]
    watch = ClockWatch(server.store, steady=lambda: steady[0])
    assert watch.look() is None
    steady[0] += 3.0  # three seconds went by that the wall clock does not show
    assert watch.look() is None
    steady[0] += 100.0
    jump = watch.look()
    assert jump is not None and -101 < jump.total_seconds() < -99
