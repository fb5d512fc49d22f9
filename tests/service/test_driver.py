"""The driver's turns, and what it does about attempts whose end nobody will ever report."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_servers import Server
from waits import wait_until

from stillhouse_service import attempts
from stillhouse_service.driver import Driver, in_turn
from stillhouse_service.states import StageState


def test_an_attempt_that_compute_knows_nothing_of_is_given_up(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stillhouse_service.cluster._CONNECT_S", 0.2)
    server = serve(compute="tcp://127.0.0.1:9")  # where no scheduler is
    wanted = {"model": "resnet20_cifar", "dataset": "digits"}
    baseline = server.http.post("/v1/baselines", json=wanted).json()["id"]
    with server.store.begin() as work:
        (stage,) = work.stages.waiting("compute", work.now, 10)
        attempt_id = attempts.start(work, stage, "compute elsewhere", lease_s=None).id

    def states() -> Any:
        with server.store.read() as view:
            attempt = view.stages.attempt(attempt_id)
            return attempt.state, view.stages.stage(attempt.stage_id).state

    wait_until(lambda: states() == ("lost", StageState.WAITING), "the attempt to be given up")
    assert server.http.get(f"/v1/baselines/{baseline}").json()["state"] == "queued"


def test_a_fault_outside_of_every_step_does_not_end_the_driver(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, n_turns = Driver._turn, itertools.count()

    def fails_first(driver: Driver) -> None:
        if next(n_turns) < 2:
            raise AttributeError("partially initialized module 'torch' has no attribute 'Tensor'")
        turn(driver)

    monkeypatch.setattr(Driver, "_turn", fails_first)
    monkeypatch.setattr("stillhouse_service.driver._REST_S", 0.05)
    server = serve()
    study = server.study()
    wait_until(lambda: server.get(f"/v1/studies/{study}")["reason"], "the watchdog's reason")
    assert "no live worker offers CPU" in server.get(f"/v1/studies/{study}")["reason"]


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
