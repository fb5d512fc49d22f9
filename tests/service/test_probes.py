"""`probe: on`: the untrained network is timed first, and what cannot win is not trained."""

from __future__ import annotations

import time
from typing import Any

import pytest

from stillhouse_service import attempts, outcomes, probes
from stillhouse_service.failures import Failure
from stillhouse_service.probes import cannot_beat

BUILT, OTHER = "a" * 64, "b" * 64


def _stage(server: Any, kind: str) -> Any:
    with server.store.read() as view:
        (stage,) = view.stages.waiting("compute", view.now, 10)
        assert stage.kind == kind
        return stage


def _sketch(server: Any, built: str = BUILT, is_decided: bool = True) -> None:
    """Play compute: the untrained network of the trial that waits."""
    stage = _stage(server, "sketch")
    names = ("untrained", "untrained_outputs")
    files = {name: server._file(f"{name} {stage.id}") for name in names}
    with server.store.begin() as work:
        row = work.stages.stage(stage.id)
        attempts.succeed(work, attempts.start(work, row, "scripted compute", None))
        made = {
            "artifacts": files,
            "metrics": {"macs": 20_000_000, "params": 100_000, "model_bytes": 400_000},
            "details": {"is_decided": is_decided},
            "built": built,
        }
        probes.made(work, row, made)


def _train(server: Any, built: str = BUILT) -> None:
    stage = _stage(server, "compress")
    made = server._compressed(stage.order) | {"built": built}
    with server.store.begin() as work:
        row = work.stages.stage(stage.id)
        attempts.succeed(work, attempts.start(work, row, "scripted compute", None))
        outcomes.compressed(work, row, made)


@pytest.fixture
def host(server: Any, connect: Any) -> Any:
    return connect(server)


@pytest.fixture
def study(server: Any, host: Any) -> str:
    """A study that probes, whose first trial keeps the limit for certain: ratio 0.7, +- 1 %."""
    made: str = server.study(probe="on", budget={"trials": 3}, constraints=["top1_drop <= 0.05"])
    host.measure(host.lease())
    _wait_for_compute(server)
    _train(server, OTHER)  # nothing to beat yet: it is trained at once
    host.measure(host.lease(), ratio=0.7)
    _wait_for_compute(server)
    return made


def _wait_for_compute(server: Any) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with server.store.read() as view:
            if view.stages.waiting("compute", view.now, 10):
                return
        time.sleep(0.02)
    raise AssertionError("no stage for compute within 90 s")


def _trials(server: Any, study: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = server.get(f"/v1/studies/{study}/trials")["items"]
    return [server.get(f"/v1/trials/{row['id']}") for row in rows]


def _probe(host: Any, ratio: float) -> dict[str, Any]:
    lease = host.lease()
    job: dict[str, Any] = lease["job"]
    assert job["is_judged"] is False  # an untrained network's accuracy says nothing
    assert host.measure(lease, ratio=ratio, is_judged=False).status_code == 204
    return job


def test_a_network_too_slow_to_win_is_not_trained(server: Any, host: Any, study: str) -> None:
    _sketch(server)
    _probe(host, ratio=0.75)
    _wait_for_compute(server)  # the next trial's, already
    slow = _trials(server, study)[1]
    assert slow["state"] == "stopped"
    assert slow["metrics"]["latency_ratio"] == 0.75
    assert "top1" not in slow["metrics"]
    assert slow["is_feasible"] is None and slow["failure"] is None
    assert "not trained" in slow["ended_early"] and "0.75" in slow["ended_early"]
    shown = server.get(f"/v1/studies/{study}")
    assert (shown["saved"]["n_not_trained"], shown["counts"]["stopped"]) == (1, 1)
    assert shown["counts"]["failed"] == 0
    # The optimizer knows its latency, and nothing of its accuracy.
    with server.store.read() as view:
        rows = view.trials.told_of(study)
        from stillhouse_service.incumbents import observed

        seen = observed(rows[1])
    assert seen.status == "stopped"
    assert seen.metrics is not None and seen.metrics["latency_ratio"] == 0.75


def test_one_that_may_win_is_trained_and_not_timed_again(
    server: Any, host: Any, study: str
) -> None:
    _sketch(server)
    _probe(host, ratio=0.6)
    _train(server)
    lease = host.lease()
    assert lease["job"]["timing"]["latency_ratio"] == 0.6
    host.measure(lease, ratio=0.6, n_correct=290)
    _wait_for_compute(server)
    fast = _trials(server, study)[1]
    assert (fast["state"], fast["latency_from"]) == ("complete", 1)
    assert fast["metrics"]["latency_ratio"] == 0.6
    assert fast["probe"]["metrics"]["latency_ratio"] == 0.6
    assert server.get(f"/v1/studies/{study}")["incumbent"]["number"] == 1


def test_a_probe_that_the_measurement_contradicts_is_told(
    server: Any, host: Any, study: str
) -> None:
    _sketch(server)
    _probe(host, ratio=0.6)
    _train(server, built="c" * 64)  # training made another network of it
    lease = host.lease()
    assert lease["job"]["timing"] is None
    host.measure(lease, ratio=0.68)
    _wait_for_compute(server)
    trial = _trials(server, study)[1]
    assert trial["metrics"]["latency_ratio"] == 0.68  # the measurement counts
    assert "0.600 (0.594 to 0.606)" in trial["probe"]["contradiction"]
    assert any("the measurement counts" in (one["reason"] or "") for one in trial["events"])
    told = server.get(f"/v1/studies/{study}/report?format=json")
    assert told["contradictions"] == [{"number": 1, "reason": trial["probe"]["contradiction"]}]
    for form in ("md", "html"):
        report = server.http.get(f"/v1/studies/{study}/report", params={"format": form}).text
        assert "contradicted: trial 1: the probe of the untrained network gave" in report


def test_a_network_that_is_known_is_judged_without_the_device(
    server: Any, host: Any, study: str
) -> None:
    _sketch(server, built=OTHER)  # the best one's network: not slower, so it is trained
    _train(server, OTHER)
    assert host.lease()["job"]["timing"]["latency_ratio"] == 0.7


def test_what_waits_for_training_is_trained(server: Any, host: Any, study: str) -> None:
    _sketch(server, is_decided=False)
    _train(server)
    trial = _trials(server, study)[1]
    assert any("waits for training" in (one["reason"] or "") for one in trial["events"])


def test_a_probe_that_fails_costs_no_trial(server: Any, host: Any, study: str) -> None:
    _sketch(server)
    host.fail(host.lease(), "mismatch")
    _train(server)
    assert _trials(server, study)[1]["state"] == "compressed"


def test_a_device_that_cannot_run_it_spares_the_training(
    server: Any, host: Any, study: str
) -> None:
    _sketch(server)
    host.fail(host.lease(), "unsupported", layers=["conv1"])
    _wait_for_compute(server)
    assert _trials(server, study)[1]["state"] == "unsupported"


def test_a_sketch_that_fails_is_trained(server: Any, host: Any, study: str) -> None:
    stage = _stage(server, "sketch")
    with server.store.begin() as work:
        row = work.stages.stage(stage.id)
        attempt = attempts.start(work, row, "scripted compute", None)
        attempts.fail(work, attempt, Failure("sketch", "internal", "a bug"), server.settings)
    _train(server)
    assert _trials(server, study)[1]["state"] == "compressed"


def test_what_a_user_enqueues_is_run_whatever_the_probe_would_say(
    server: Any, host: Any, study: str
) -> None:
    config = {"pruners.filters.final_sparsity": 0.1, "training.lr": 0.05}
    made = server.http.post(f"/v1/studies/{study}/trials", json={"config": config}).json()
    with server.store.read() as view:
        kinds = {s.trial_id: s.kind for s in view.stages.open_of_study(study)}
    assert kinds[made["id"]] == "compress"


def test_a_result_without_accuracy_is_taken_of_a_probe_alone(server: Any, host: Any) -> None:
    server.study()
    lease = host.lease()
    answer = host.measure(lease, is_judged=False)
    assert answer.status_code == 422
    assert "result.accuracy" in answer.text
    assert host.measure(lease).status_code == 204  # and the lease is still there


def test_an_old_host_that_judges_an_untrained_network_is_not_listened_to(
    server: Any, host: Any, study: str
) -> None:
    _sketch(server)
    host.measure(host.lease(), ratio=0.75, n_correct=30)
    _wait_for_compute(server)
    trial = _trials(server, study)[1]
    assert trial["state"] == "stopped"
    assert "top1" not in trial["metrics"]


@pytest.mark.parametrize("objectives", [["model_bytes"], ["macs"]])
def test_a_probe_needs_a_latency_to_be_of_use(server: Any, objectives: list[str]) -> None:
    spec = server.spec(probe=True, objectives=objectives)
    answer = server.http.post("/v1/studies", json=spec)
    assert answer.status_code == 422
    assert [one["path"] for one in answer.json()["problems"]] == ["probe"]


def _times(ratio: float, spread: float = 0.01) -> dict[str, float]:
    return {
        "latency_ratio": ratio,
        "latency_ratio_low": ratio * (1 - spread),
        "latency_ratio_high": ratio * (1 + spread),
        "latency_p50_ms": 2 * ratio,
        "throughput_per_s": 500 / ratio,
    }


@pytest.mark.parametrize(
    ("objective", "ratio", "is_lost"),
    [
        ("latency_ratio", 0.71, True),  # 0.7029 at best, against 0.7
        ("latency_ratio", 0.705, False),  # 0.698 at best
        ("latency_ratio", 0.5, False),
        ("latency_p50_ms", 0.71, True),
        ("latency_p50_ms", 0.705, False),
        ("throughput_per_s", 0.71, True),  # 704 a second, 711 at best; the best has 714
        ("throughput_per_s", 0.705, False),
        ("throughput_per_s", 0.5, False),
    ],
)
def test_its_whole_interval_must_speak_against_it(
    objective: str, ratio: float, is_lost: bool
) -> None:
    assert (cannot_beat(objective, _times(ratio), _times(0.7)) is not None) == is_lost
