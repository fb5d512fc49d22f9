"""What the page draws, over HTTP: bounded, whatever a study's size; checks that start nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_service.study_views import _numbers, _stride

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
OUTSIDE = {
    "name": "outside",
    "runner": "outside",
    "parameters": [{"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}],
    "objectives": ["loss"],
    "constraints": ["size <= 5"],
    "budget": {"trials": 5000},
}


def _outside(server: Any, losses: list[float], size: float = 1.0) -> str:
    made = server.http.post("/v1/studies", json=OUTSIDE)
    assert made.status_code == 201, made.text
    study = str(made.json()["id"])
    trials = [{"config": {"x": 0.5}, "metrics": {"loss": loss, "size": size}} for loss in losses]
    path = f"/v1/studies/{study}/trials/import"
    assert server.http.post(path, json={"trials": trials}).status_code == 201
    return study


@given(st.integers(0, 1_000_000))
def test_the_points_are_bounded_and_a_larger_study_keeps_most_of_them(n: int) -> None:
    numbers = _numbers(n, _stride(n))
    assert len(numbers) <= 500
    assert numbers == sorted(set(numbers))
    assert set(range(max(0, n - 100), n)) <= set(numbers)
    if n <= 500:
        assert numbers == list(range(n))
    # One more trial moves the window of the last hundred, nothing else, until the step doubles.
    if _stride(n + 1) == _stride(n):
        assert len(set(numbers) - set(_numbers(n + 1, _stride(n + 1)))) <= 1


@on_both
def test_a_small_study_is_seen_whole(server: Any) -> None:
    study = _outside(server, [3.0, 1.0, 2.0])
    view = server.get(f"/v1/studies/{study}/view")
    assert (view["objective"], view["limited"], view["stride"]) == ("loss", "size", 1)
    assert view["limits"] == [{"metric": "size", "op": "<=", "bound": 5.0}]
    assert [one["value"] for one in view["points"]] == [3.0, 1.0, 2.0]
    assert [one["limited"] for one in view["points"]] == [1.0, 1.0, 1.0]
    assert all(one["is_feasible"] and one["is_certain"] for one in view["points"])
    assert [one["value"] for one in view["lines"]] == [1.0, 2.0, 3.0]
    best = server.get(f"/v1/studies/{study}")["incumbent"]
    assert view["best"][-1] == best["trial_id"]
    assert (view["n_failed"], view["causes"], view["open"]) == (0, [], [])


@on_both
def test_a_large_study_is_seen_through_few_points_its_best_among_them(server: Any) -> None:
    losses = [1.0 + number / 5000 for number in range(1500)]
    losses[777] = 0.1  # on no step of the draw
    study = _outside(server, losses)
    view = server.get(f"/v1/studies/{study}/view")
    assert view["n_trials"] == 1500
    numbers = [one["number"] for one in view["points"]]
    assert view["stride"] == 8
    assert set(numbers) == {*range(0, 1500, 8), *range(1400, 1500), 777}
    assert len(view["lines"]) <= 150
    assert 777 in [one["number"] for one in view["lines"]]


def test_failures_are_told_by_cause_with_what_to_do(server: Any, connect: Any) -> None:
    study = server.study(budget={"trials": 3})
    host = connect(server)
    host.measure(host.lease())
    for _ in range(2):
        server.compute_all()
        lease = None
        while lease is None:
            server.compute_all()
            answer = host.ask(0.2)
            lease = answer.json() if answer.status_code == 200 else None
        host.fail(lease, "unsupported", reason="conv9: no such kernel")
    view = server.get(f"/v1/studies/{study}/view")
    (cause,) = view["causes"]
    assert (cause["stage"], cause["failure_class"], cause["n"]) == ("compile", "unsupported", 2)
    assert (cause["number"], cause["reason"]) == (1, "conv9: no such kernel")
    assert "another device" in cause["advice"]
    trial = server.get(f"/v1/trials/{cause['trial_id']}")
    assert trial["why_proposed"].startswith("One of the first trials")


def test_a_spec_is_checked_and_nothing_started(server: Any) -> None:
    spec = server.spec()
    good = server.http.post("/v1/studies/check", json=spec)
    assert good.status_code == 200
    names = [one["name"] for one in good.json()["parameters"]]
    assert names == ["pruners.filters.final_sparsity", "training.lr"]
    assert good.json()["problems"] == []

    wrong = spec | {
        "name": "",
        "template": spec["template"].replace("low: 0.1", "low: 0.9"),
        "budget": {},
    }
    found = server.http.post("/v1/studies/check", json=wrong)
    assert found.status_code == 200
    assert [one["path"] for one in found.json()["problems"]] == ["name", "budget.trials"]
    wrong |= {"name": "n", "budget": {"trials": 3}, "device": "TOASTER"}
    paths = [
        one["path"] for one in server.http.post("/v1/studies/check", json=wrong).json()["problems"]
    ]
    assert "device" in paths
    assert any(path.startswith("template.pruners.filters.final_sparsity") for path in paths)
    assert server.get("/v1/studies")["items"] == []


def test_a_device_that_fails_again_and_again_is_called_suspect(server: Any, connect: Any) -> None:
    server.study()
    host = connect(server)
    for n in range(3):
        (device,) = server.get("/v1/workers")["hosts"][0]["devices"]
        assert (device["n_failed_in_a_row"], device["is_suspect"]) == (n, False)
        lease = host.lease()
        (device,) = server.get("/v1/workers")["hosts"][0]["devices"]
        assert device["now"]["kind"] == "check"
        host.fail(lease, "device-fault", reason="the stick is hot")
    (device,) = server.get("/v1/workers")["hosts"][0]["devices"]
    assert (device["n_failed_in_a_row"], device["is_suspect"]) == (3, True)
    assert device["last_failure"] == "the stick is hot"
    host.ask()  # it passed its test and asks for work again
    (device,) = server.get("/v1/workers")["hosts"][0]["devices"]
    assert device["is_suspect"] is False
