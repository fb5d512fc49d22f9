"""`early_stop`: what goes with a training's order, and what becomes of one that was ended."""

from __future__ import annotations

import time
from typing import Any

import pytest

from stillhouse_service import attempts, early_stops, outcomes
from stillhouse_service.incumbents import observed


def _history(*top1: float) -> list[dict[str, Any]]:
    rows = enumerate(top1)
    return [{"stage": "schedule", "epoch": i, "validation_top1": value} for i, value in rows]


@pytest.fixture
def host(server: Any, connect: Any) -> Any:
    return connect(server)


def _next(server: Any) -> Any:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with server.store.read() as view:
            waiting = view.stages.waiting("compute", view.now, 10)
        if waiting:
            (stage,) = waiting
            return stage
        time.sleep(0.02)
    raise AssertionError("no training waits within 90 s")


def _complete(server: Any, host: Any, *top1: float) -> None:
    stage = _next(server)
    made = server._compressed(stage.order)
    made["metrics"]["validation_top1"] = top1[-1]
    made["details"]["history"] = _history(*top1)
    with server.store.begin() as work:
        row = work.stages.stage(stage.id)
        attempts.succeed(work, attempts.start(work, row, "scripted compute", None))
        outcomes.compressed(work, row, made)
    assert host.measure(host.lease(), ratio=0.7, n_correct=293).status_code == 204


def _stop(server: Any) -> None:
    stage = _next(server)
    found = {
        "reason": "after epoch 2 of 4 it could reach 0.9000 at best",
        "reachable": 0.9,
        "history": _history(0.5, 0.6),
        "n_epochs": 4,
        "saved_s": 7200.0,
    }
    with server.store.begin() as work:
        row = work.stages.stage(stage.id)
        attempt = attempts.start(work, row, "scripted compute", None)
        early_stops.stopped(work, attempts.succeed(work, attempt), found)


def test_the_curves_so_far_and_the_limit_go_with_the_order(server: Any, host: Any) -> None:
    server.study(early_stop="cautious", constraints=["top1_drop <= 0.02"])
    host.measure(host.lease())
    # The baseline reaches 0.98 in torch.
    assert _next(server).order["early_stop"] == {
        "mode": "cautious",
        "top1": pytest.approx(0.96),
        "curves": [],
    }
    _complete(server, host, 0.7, 0.9, 0.95)
    rule = _next(server).order["early_stop"]
    assert rule["curves"] == [{"top1": [0.7, 0.9, 0.95], "final": 0.95}]


def test_without_the_switch_nothing_goes_along(server: Any, host: Any) -> None:
    server.study()
    host.measure(host.lease())
    assert "early_stop" not in _next(server).order


def test_a_training_that_was_ended_is_infeasible_and_no_failure(server: Any, host: Any) -> None:
    study = server.study(early_stop="bold", constraints=["top1_drop <= 0.02"])
    host.measure(host.lease())
    _stop(server)
    _next(server)  # the study goes on
    row = server.get(f"/v1/studies/{study}/trials")["items"][0]
    trial = server.get(f"/v1/trials/{row['id']}")
    assert (trial["state"], trial["is_feasible"], trial["failure"]) == ("stopped", False, None)
    # At best 0.9 of the baseline's 0.98: at least 0.06 too much is lost.
    assert trial["metrics"]["top1_drop_low"] == pytest.approx(0.08)
    assert trial["violations"] == {"top1_drop": pytest.approx(0.06)}
    assert len(trial["history"]) == 2
    assert "0.9000 at best" in trial["ended_early"]
    shown = server.get(f"/v1/studies/{study}")
    assert shown["saved"] == {
        "n_twins": 0,
        "n_not_trained": 0,
        "n_ended_early": 1,
        "compute_s": 7200.0,
    }
    assert shown["incumbent"] is None
    report = server.http.get(f"/v1/studies/{study}/report?format=md").text
    assert "ended early" in report and "2 hours" in report
    with server.store.read() as view:
        seen = observed(view.trials.told_of(study)[0])
    assert seen.metrics is not None
    assert seen.metrics["top1_drop"] == pytest.approx(0.08)  # the least that it would have lost
    assert "latency_ratio" not in seen.metrics


@pytest.mark.parametrize("limits", [[], ["model_bytes <= 1e6"], ["top1_drop >= 0.0"]])
def test_without_a_limit_on_accuracy_it_is_refused(server: Any, limits: list[str]) -> None:
    spec = server.spec(early_stop="bold", constraints=limits)
    answer = server.http.post("/v1/studies", json=spec)
    assert answer.status_code == 422
    assert "early_stop" in [one["path"] for one in answer.json()["problems"]]


@pytest.mark.parametrize(("said", "meant"), [(False, "off"), ("off", "off"), ("bold", "bold")])
def test_what_yaml_makes_of_off_is_understood(server: Any, said: Any, meant: str) -> None:
    study = server.study(early_stop=said)
    assert server.get(f"/v1/studies/{study}")["spec"]["early_stop"] == meant
