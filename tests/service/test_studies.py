"""A study from its first proposal to its end: real optimizer, real HTTP, scripted measurements."""

import hashlib
import json
import time
from typing import Any

import pytest

from stillhouse_service import attempts, outcomes

TRIALS = 8
on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)


def _measure(server: Any, lease: dict[str, Any]) -> tuple[float, int]:
    """Make up a device: more sparsity is faster and, above 0.5, loses images."""
    content = server.artifacts.read(lease["job"]["candidate"]["sha256"]).decode()
    if "{" not in content:
        return 1.0, 294  # the baseline itself
    order = json.loads(content[content.index("{") :])
    sparsity = order["schedule"]["pruners"]["filters"]["final_sparsity"]
    return 1.0 - 0.5 * sparsity, 294 - round(100 * max(0.0, sparsity - 0.5))


def _drive(server: Any, host: Any, study: str, until: tuple[str, ...] = ("finished",)) -> Any:
    """Play compute and device until the study ends."""
    deadline = time.monotonic() + 60
    while True:
        server.compute_all()
        answer = host.ask(0.05)
        if answer.status_code == 200:
            lease = answer.json()
            ratio, n_correct = _measure(server, lease)
            assert host.measure(lease, ratio, n_correct).status_code == 204
        found = server.get(f"/v1/studies/{study}")
        if found["state"] in until:
            return found
        assert time.monotonic() < deadline, found


def _trials(server: Any, study: str) -> list[dict[str, Any]]:
    return list(server.get(f"/v1/studies/{study}/trials?page_size=1000")["items"])


@on_both
def test_a_study_runs_its_budget_and_measures_the_winner_on_the_test_split(
    server: Any, connect: Any
) -> None:
    study = server.study(budget={"trials": TRIALS})
    found = _drive(server, connect(server), study)
    trials = _trials(server, study)
    assert [trial["number"] for trial in trials] == list(range(TRIALS))
    assert {trial["state"] for trial in trials} == {"complete"}
    assert found["counts"]["complete"] == TRIALS
    feasible = [t for t in trials if t["metrics"]["top1_drop"] <= 0.02]
    assert found["counts"]["feasible"] == len(feasible) > 0
    assert [t["number"] for t in trials if t["is_feasible"]] == [t["number"] for t in feasible]
    certain = [t for t in feasible if t["metrics"]["top1_drop_high"] <= 0.02]
    best = min(certain, key=lambda t: t["metrics"]["latency_ratio"])
    assert found["incumbent"]["number"] == best["number"]
    assert found["incumbent"]["is_certain"]
    assert found["incumbent"]["is_confirmed"]
    assert found["final"]["split"] == "test"
    assert found["final"]["trial_id"] == best["id"]
    assert found["final"]["baseline_top1"] == pytest.approx(0.98)
    assert found["eta_s"] is None
    detail = server.get(f"/v1/trials/{best['id']}")
    assert [m["purpose"] for m in detail["measurements"]] == ["trial", "confirm", "final"]
    assert [m["split"] for m in detail["measurements"]] == ["validation", "validation", "test"]
    assert found["reason"] == f"all {TRIALS} trials are finished"
    assert detail["layers"][0]["layer"] == "conv1"
    assert detail["schedule"]["pruners"]["filters"]["final_sparsity"] == pytest.approx(
        best["config"]["pruners.filters.final_sparsity"]
    )


def test_a_study_whose_next_step_fails_says_so_and_goes_on_when_it_can(
    server: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OverflowError("math range error")

    study = server.study(budget={"trials": 2})
    host = connect(server)
    with monkeypatch.context() as broken:
        broken.setattr("stillhouse_service.steps.start_trial", fail)
        deadline = time.monotonic() + 60
        while "math range error" not in str(server.get(f"/v1/studies/{study}")["reason"]):
            if (answer := host.ask(0.05)).status_code == 200:
                host.measure(answer.json(), 1.0, 294)
            assert time.monotonic() < deadline
        found = server.get(f"/v1/studies/{study}")
        assert found["state"] == "running"
        assert found["reason"].startswith("its next step fails, and is tried again")
    assert _drive(server, host, study)["counts"]["complete"] == 2


def test_a_trial_says_by_how_much_it_misses_its_bounds(server: Any, connect: Any) -> None:
    study = server.study(budget={"trials": TRIALS})
    _drive(server, connect(server), study)
    misses = [t for t in _trials(server, study) if not t["is_feasible"]]
    assert misses
    for trial in misses:
        miss = trial["metrics"]["top1_drop"] - 0.02
        assert trial["violations"]["top1_drop"] == pytest.approx(miss)


@on_both
def test_every_step_of_a_trial_is_an_event(server: Any, connect: Any) -> None:
    study = server.study(budget={"trials": 1})
    _drive(server, connect(server), study)
    trial = server.get(f"/v1/trials/{_trials(server, study)[0]['id']}")
    assert [event["after"] for event in trial["events"]] == [
        "queued",
        "compressing",
        "compressed",
        "benchmarking",
        "complete",
    ]
    events = server.get(f"/v1/studies/{study}/events?page_size=1000")["items"]
    of_study = [e["after"] for e in events if e["subject"] == study and e["kind"] == "state"]
    assert of_study == ["checking", "running", "finished"]


def test_as_many_trials_are_under_way_as_the_study_asks_for(server: Any, connect: Any) -> None:
    study = server.study(budget={"trials": 5}, parallel=3)
    host = connect(server)
    host.measure(host.lease())
    deadline = time.monotonic() + 20
    while server.get(f"/v1/studies/{study}")["counts"]["queued"] < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    assert server.get(f"/v1/studies/{study}")["counts"]["queued"] == 3
    found = _drive(server, host, study)
    assert found["counts"]["complete"] == 5


def test_a_failed_trial_keeps_its_reason_and_the_study_goes_on(server: Any, connect: Any) -> None:
    study = server.study(budget={"trials": 3})
    host = connect(server)
    host.measure(host.lease())
    deadline = time.monotonic() + 20
    while not server.compute_all():
        assert time.monotonic() < deadline
    assert host.fail(host.lease(), "unsupported", layers=["fc"]).status_code == 204
    found = _drive(server, host, study)
    assert found["counts"]["unsupported"] == 1
    assert found["counts"]["complete"] == 2
    trial = _trials(server, study)[0]
    assert trial["state"] == "unsupported"
    assert trial["failure"] == {
        "stage": "compile",
        "class": "unsupported",
        "reason": "it was so",
        "log": [],
    }


@on_both
def test_a_study_whose_trials_all_fail_pauses_and_says_why(serve: Any, connect: Any) -> None:
    server = serve(n_failures_to_pause=3)
    study = server.study(budget={"trials": 8})
    host = connect(server)
    host.measure(host.lease())

    def fail_until_paused() -> Any:
        deadline = time.monotonic() + 30
        while True:
            found = server.get(f"/v1/studies/{study}")
            if found["state"] == "paused":
                return found
            server.compute_all()
            answer = host.ask(0.05)
            if answer.status_code == 200:
                host.fail(answer.json(), "mismatch")
            assert time.monotonic() < deadline

    found = fail_until_paused()
    assert found["counts"]["failed"] == 3
    assert found["reason"].startswith("3 of the last 3 trials failed as 'mismatch' (trial 2: ")
    assert "look at its precision and driver; then resume the study" in found["reason"]
    resumed = server.http.post(f"/v1/studies/{study}/resume").json()
    assert resumed["state"] == "running"
    assert resumed["reason"] is None
    assert fail_until_paused()["counts"]["failed"] == 6
    server.http.post(f"/v1/studies/{study}/resume")
    assert _drive(server, host, study)["counts"]["complete"] == 2


def test_a_study_without_a_feasible_trial_ends_and_says_so(server: Any, connect: Any) -> None:
    study = server.study(budget={"trials": 2}, constraints=["model_bytes <= 1000"])
    found = _drive(server, connect(server), study)
    assert found["incumbent"] is None
    assert found["final"] is None
    assert found["reason"] == "no trial met the constraints"


def test_a_space_of_two_configs_ends_after_two_trials(server: Any, connect: Any) -> None:
    template = server.spec(baseline="x")["template"].replace(
        "!float {low: 0.1, high: 0.8, default: 0.3}", "!choice [0.2, 0.4]"
    )
    study = server.study(template=template, training="epochs: 4\n", budget={"trials": 9})
    found = _drive(server, connect(server), study)
    assert len(_trials(server, study)) == 2
    assert found["reason"] == "all 2 configs of the space were tried"
    assert found["final"]["split"] == "test"


@on_both
def test_cancelling_a_study_cancels_what_is_under_way(server: Any, connect: Any) -> None:
    study = server.study(budget={"trials": 5}, parallel=2)
    host = connect(server)
    host.measure(host.lease())
    deadline = time.monotonic() + 20
    while len(_trials(server, study)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    answer = server.http.post(f"/v1/studies/{study}/cancel").json()
    assert answer["counts"]["cancelled"] == 2
    assert server.compute_all() == 0
    assert host.ask().status_code == 204


@on_both
def test_a_restart_loses_and_doubles_nothing_that_is_under_way(serve: Any, connect: Any) -> None:
    first = serve()
    study = first.study(budget={"trials": 4}, parallel=2)
    host = connect(first)
    host.measure(host.lease())
    deadline = time.monotonic() + 20
    while len(_trials(first, study)) < 2:
        assert time.monotonic() < deadline
    first.compute_all()
    held = host.lease()
    before = [t["id"] for t in _trials(first, study)]
    first.stop()
    second = serve()
    again = connect(second)  # the same host, on the new server's port
    assert (again.worker_id, again.device_id) == (host.worker_id, host.device_id)
    assert again.measure(held, *_measure(second, held)).status_code == 204
    found = _drive(second, again, study)
    assert found["counts"]["complete"] == 4
    trials = _trials(second, study)
    assert [t["id"] for t in trials][:2] == before
    with second.store.read() as view:
        assert len(view.log.measurements_of_study(study)) == 1 + 4 + 1 + 1


def test_what_a_trial_ran_can_be_fetched(server: Any, connect: Any) -> None:
    study = server.study(budget={"trials": 1})
    _drive(server, connect(server), study)
    trial = _trials(server, study)[0]
    for name in ("schedule", "onnx", "weights"):
        content = server.http.get(f"/v1/artifacts/{trial['artifacts'][name]}").content
        assert hashlib.sha256(content).hexdigest() == trial["artifacts"][name]


def test_a_study_tells_what_mattered_as_json_csv_and_page(server: Any, connect: Any) -> None:
    study = server.study(budget={"trials": 20})
    _drive(server, connect(server), study)
    found = server.get(f"/v1/studies/{study}/importance")
    assert found["n_trials"] == 20
    assert set(found["metrics"]) == {"latency_ratio", "top1_drop"}
    # By construction the ratio depends on the sparsity alone, and falls with it.
    of_ratio = found["metrics"]["latency_ratio"]
    assert of_ratio["verdict"] in ("enough", "care")
    first = of_ratio["parameters"][0]
    assert first["name"] == "pruners.filters.final_sparsity"
    assert first["direction"] == "down"
    table = server.http.get(f"/v1/studies/{study}/importance?format=csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert "pruners.filters.final_sparsity" in table.text
    page = server.http.get(f"/v1/studies/{study}/report")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "pruners.filters.final_sparsity" in page.text


def test_a_study_without_trials_ranks_nothing_and_has_a_report(server: Any) -> None:
    study = server.study()
    found = server.get(f"/v1/studies/{study}/importance")
    assert {one["verdict"] for one in found["metrics"].values()} == {"not_enough"}
    assert server.http.get(f"/v1/studies/{study}/report").status_code == 200
    assert server.http.get("/v1/studies/std_none/report").status_code == 404


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ({"wall_s": 0.001}, "0 s have passed, 0 s were allowed"),
        ({"min_gain": 0.9}, "the best next trial promises"),
    ],
)
def test_a_study_stops_when_its_budget_is_used_and_says_why(
    server: Any, connect: Any, budget: dict[str, float], reason: str
) -> None:
    study = server.study(budget={"trials": 30, **budget}, optimizer={"n_initial": 4})
    found = _drive(server, connect(server), study)
    n = found["counts"]["complete"]
    assert n == {"wall_s": 0}.get(next(iter(budget)), n) < 12
    assert found["reason"].startswith(reason if n else "no trial met the constraints")


def test_a_study_stops_when_its_compute_is_used(server: Any, connect: Any) -> None:
    study = server.study(budget={"trials": 30, "compute_s": 0.01})
    host = connect(server)
    host.measure(host.lease())
    deadline = time.monotonic() + 20
    while not _trials(server, study):
        assert time.monotonic() < deadline
    with server.store.begin() as work:
        stage = work.stages.waiting("compute", work.now, 1)[0]
        attempt = attempts.start(work, stage, "slow compute", None)
    time.sleep(0.02)
    with server.store.begin() as work:
        stage = attempts.succeed(work, work.stages.attempt(attempt.id))
        outcomes.compressed(work, stage, server._compressed(stage.order))
    found = _drive(server, host, study)
    assert found["counts"]["complete"] == 1
    assert found["reason"] == "0 s of compute are used, 0 s were allowed"


def test_a_limit_may_be_a_share_of_the_baseline(server: Any, connect: Any) -> None:
    limits = ["latency_p50_ms <= 0.8 * baseline", "top1 >= 0.99 * baseline"]
    study = server.study(budget={"trials": TRIALS}, constraints=limits)
    found = _drive(server, connect(server), study)
    trials = _trials(server, study)
    # The baseline takes 2 ms and gets 294 of 300 right.
    feasible = [
        t["number"]
        for t in trials
        if t["metrics"]["latency_p50_ms"] <= 1.6 and t["metrics"]["top1"] >= 0.99 * 294 / 300
    ]
    assert [t["number"] for t in trials if t["is_feasible"]] == feasible != []
    assert found["final"]["is_feasible"]
    assert "Latency p50 at most 1.600 ms" in server.http.get(f"/v1/studies/{study}/report").text


@pytest.mark.parametrize("limit", ["top1_drop <= 0.5 * baseline", "macs <= 0 * baseline"])
def test_a_share_that_makes_no_sense_is_refused(server: Any, limit: str) -> None:
    answer = server.http.post("/v1/studies", json=server.spec(constraints=[limit]))
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["path"] == "constraints[0]"


def test_a_trial_says_why_it_was_proposed(server: Any, connect: Any, at: Any) -> None:
    study = server.study(budget={"trials": 6}, optimizer={"n_initial": 4})
    _drive(server, connect(server), study)
    first, last = _trials(server, study)[0], _trials(server, study)[-1]
    assert (first["origin"], first["prediction"]) == ("initial", {})
    assert last["origin"] == "model"
    assert last["prediction"]["latency_ratio_low"] <= last["prediction"]["latency_ratio"]
    assert 0 <= last["prediction"]["p_feasible"] <= 1
    assert "fill the space before any model" in at("trial", "show", first["id"])[1]
    said = at("trial", "show", last["id"])[1]
    assert "Proposed by the model, which expected Latency ratio" in said
    assert "to keep the limits" in server.http.get(f"/v1/studies/{study}/report").text


def test_half_of_the_last_trials_failing_for_one_cause_pauses_a_study(
    serve: Any, connect: Any
) -> None:
    server = serve(n_trials_watched=4, n_failures_to_pause=2)
    study = server.study(budget={"trials": 12})
    host = connect(server)
    host.measure(host.lease())
    fates = ["", "unsupported", "mismatch", "", "", "unsupported", "", "unsupported"]
    deadline = time.monotonic() + 60
    while fates and server.get(f"/v1/studies/{study}")["state"] == "running":
        server.compute_all()
        answer = host.ask(0.05)
        if answer.status_code == 200:
            fate = fates.pop(0)
            told = host.fail(answer.json(), fate) if fate else host.measure(answer.json())
            assert told.status_code == 204
        assert time.monotonic() < deadline
    # Trials 1 and 2 failed for different causes; 5 and 7 for one, within the last four.
    assert fates == []
    while server.get(f"/v1/studies/{study}")["state"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    found = server.get(f"/v1/studies/{study}")
    assert found["state"] == "paused"
    assert found["reason"].startswith("2 of the last 4 trials failed as 'unsupported' (trial 7: ")
    assert "keep the layers it names out of the template" in found["reason"]
