"""Trials that come to the same are run once; networks of the same shapes are timed once."""

from __future__ import annotations

from typing import Any

import pytest

from stillhouse_benchmark.protocol import Result
from stillhouse_service import attempts, leases, lives, outcomes

SPARSITY, LR = "pruners.filters.final_sparsity", "training.lr"


def _config(sparsity: float, lr: float = 0.01) -> dict[str, float]:
    return {SPARSITY: sparsity, LR: lr}


def _begun(server: Any, host: Any, **changes: Any) -> str:
    """A paused study, so that only what a test enqueues is run."""
    study: str = server.study(**({"budget": {"trials": 5}} | changes))
    lease = host.lease()
    with server.store.begin() as work:  # at once: in between a trial might be proposed
        baseline = Result.from_json(host.measured())
        leases.result(work, lease["id"], lease["token"], baseline)
        lives.pause_study(work, study)
    return study


def _enqueue(server: Any, study: str, config: dict[str, float]) -> dict[str, Any]:
    answer = server.http.post(f"/v1/studies/{study}/trials", json={"config": config})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _compress(server: Any, built: str | None) -> None:
    """Play compute for the one stage that waits: a network of this name comes out."""
    with server.store.begin() as work:
        (stage,) = work.stages.waiting("compute", work.now, 10)
        attempts.succeed(work, attempts.start(work, stage, "scripted compute", None))
        outcomes.compressed(work, stage, server._compressed(stage.order) | {"built": built})


def _run(server: Any, host: Any, study: str, config: Any, built: str, **result: Any) -> Any:
    trial = _enqueue(server, study, config)
    _compress(server, built)
    lease = host.lease()
    assert host.measure(lease, **result).status_code == 204
    return server.get(f"/v1/trials/{trial['id']}"), lease["job"]


@pytest.fixture
def host(server: Any, connect: Any) -> Any:
    return connect(server)


def test_a_config_that_comes_to_the_same_has_the_result_at_once(server: Any, host: Any) -> None:
    study = _begun(server, host)
    first, _ = _run(server, host, study, _config(0.5), "a" * 64, ratio=0.7)
    # 16 filters: half of them is 8, and 0.52 of them is 8 as well.
    twin = _enqueue(server, study, _config(0.52))
    assert (twin["state"], twin["origin"], twin["twin_of"]) == ("complete", "twin", first["id"])
    assert twin["metrics"] == first["metrics"]
    assert twin["is_feasible"] == first["is_feasible"]
    assert twin["artifacts"] == first["artifacts"]
    detail = server.get(f"/v1/trials/{twin['id']}")
    assert "not run" in detail["why_proposed"]
    assert "trial 0" in detail["events"][0]["reason"]
    assert host.ask().status_code == 204  # nothing for the device
    with server.store.read() as view:
        assert view.stages.open_of_study(study) == []
        assert view.trials.n_begun_of(study) == (2, 1)  # no budget
    # The best is the one that was run.
    assert server.get(f"/v1/studies/{study}")["incumbent"]["trial_id"] == first["id"]


def test_another_training_or_network_is_run(server: Any, host: Any) -> None:
    study = _begun(server, host)
    _run(server, host, study, _config(0.5), "a" * 64, ratio=0.7)
    for config in (_config(0.5, lr=0.02), _config(0.7)):
        assert _enqueue(server, study, config)["state"] == "queued"


def test_a_twin_costs_nothing_even_when_the_budget_is_spent(server: Any, host: Any) -> None:
    study = _begun(server, host, budget={"trials": 1})
    _run(server, host, study, _config(0.5), "a" * 64, ratio=0.7)
    assert _enqueue(server, study, _config(0.5))["state"] == "complete"
    answer = server.http.post(f"/v1/studies/{study}/trials", json={"config": _config(0.7)})
    assert answer.status_code == 409
    assert "all the 1 trials" in answer.json()["detail"]


def test_without_reuse_everything_is_run_and_timed(server: Any, host: Any) -> None:
    study = _begun(server, host, reuse=False)
    _run(server, host, study, _config(0.5), "a" * 64, ratio=0.7)
    again, job = _run(server, host, study, _config(0.5), "a" * 64, ratio=0.72)
    assert job["timing"] is None
    assert again["twin_of"] is None
    assert again["metrics"]["latency_ratio"] == 0.72


def test_a_trial_of_an_earlier_study_on_this_device_is_a_twin_too(server: Any, host: Any) -> None:
    baseline = server.baseline()
    earlier = _begun(server, host, baseline=baseline)
    old, _ = _run(server, host, earlier, _config(0.5), "a" * 64, ratio=0.7)
    study = _begun(server, host, baseline=baseline, warm_start=[earlier])
    twin = _enqueue(server, study, _config(0.5))
    assert (twin["origin"], twin["twin_of"]) == ("twin", old["id"])
    # Measured as this study measures, and of nobody else here: it may be the best.
    assert server.get(f"/v1/studies/{study}")["incumbent"]["trial_id"] == twin["id"]


def test_a_trial_of_another_device_is_no_twin(server: Any, host: Any, connect: Any) -> None:
    baseline = server.baseline()
    earlier = _begun(server, host, baseline=baseline)
    _run(server, host, earlier, _config(0.5), "a" * 64, ratio=0.7)
    other = connect(server, "edge-2")
    study = _begun(server, other, baseline=baseline, warm_start=[earlier])
    assert _enqueue(server, study, _config(0.5))["state"] == "queued"


def test_a_network_of_the_same_shapes_is_not_timed_again(server: Any, host: Any) -> None:
    study = _begun(server, host)
    _, job = _run(server, host, study, _config(0.5), "a" * 64, ratio=0.7)
    assert job["timing"] is None
    trial = _enqueue(server, study, _config(0.5, lr=0.05))
    _compress(server, "a" * 64)
    lease = host.lease()
    known = lease["job"]["timing"]
    assert (known["latency_ratio"], known["candidate"]["p50_ms"]) == (0.7, 1.4)
    # The host judges 291 of 300, and gives the times back as they came.
    assert host.measure(lease, ratio=0.7, n_correct=291).status_code == 204
    detail = server.get(f"/v1/trials/{trial['id']}")
    assert detail["latency_from"] == 0
    assert detail["metrics"]["latency_ratio"] == 0.7
    assert detail["metrics"]["latency_ratio_high"] == pytest.approx(0.707)
    assert detail["metrics"]["top1"] == pytest.approx(0.97)
    (measured,) = detail["measurements"]
    assert measured["result"]["latency_from"]["trial"] == 0
    assert "timed as trial 0" in [one["reason"] for one in detail["events"]][-1]


def test_a_host_that_times_nevertheless_is_believed(server: Any, host: Any) -> None:
    study = _begun(server, host)
    _run(server, host, study, _config(0.5), "a" * 64, ratio=0.7)
    again, _ = _run(server, host, study, _config(0.5, lr=0.05), "a" * 64, ratio=0.73)
    assert again["latency_from"] is None
    assert again["metrics"]["latency_ratio"] == 0.73


@pytest.mark.parametrize(
    "changed", [{"runtime_version": "2026.1.0"}, {"precisions": ["f16"]}], ids=["runtime", "f16"]
)
def test_another_runtime_or_precision_times_anew(server: Any, host: Any, changed: Any) -> None:
    study = _begun(server, host)
    _run(server, host, study, _config(0.5), "a" * 64, ratio=0.7)
    host.device |= changed
    host.register()
    _, job = _run(server, host, study, _config(0.5, lr=0.05), "a" * 64, ratio=0.7)
    assert job["timing"] is None


def test_a_winner_measured_again_takes_its_copies_along(server: Any, host: Any) -> None:
    study = _begun(server, host, budget={"trials": 2})
    first, _ = _run(server, host, study, _config(0.5), "a" * 64, ratio=0.7)
    second, _ = _run(server, host, study, _config(0.5, lr=0.05), "a" * 64, ratio=0.7)
    assert second["latency_from"] == 0
    assert server.http.post(f"/v1/studies/{study}/resume").status_code == 200
    lease = host.lease()
    assert lease["job"]["timing"] is None  # measured again means timed again
    assert host.measure(lease, ratio=0.75).status_code == 204
    for trial in (first, second):
        metrics = server.get(f"/v1/trials/{trial['id']}")["metrics"]
        assert (metrics["latency_ratio"], metrics["n_measurements"]) == (0.75, 2)
    last = host.lease()
    assert last["job"]["split"] == "test"  # the copy is not measured again: it was just now


def test_a_study_outside_knows_twins_by_their_configs(server: Any) -> None:
    space = [{"name": "x", "kind": "float", "low": 0.0, "high": 1.0}]
    spec = {"name": "outside", "runner": "outside", "parameters": space, "objectives": ["loss"]}
    study = server.http.post("/v1/studies", json=spec | {"budget": {"trials": 9}}).json()["id"]
    asked = server.http.post(f"/v1/studies/{study}/ask", json={"n": 1}).json()["items"][0]
    token, trial = asked["token"], asked["trial"]
    path = f"/v1/trials/{trial['id']}/tell"
    told = server.http.post(path, json={"token": token, "metrics": {"loss": 0.5}})
    assert told.status_code == 200, told.text
    twin = _enqueue(server, study, trial["config"])
    assert (twin["twin_of"], twin["metrics"]) == (trial["id"], {"loss": 0.5})
