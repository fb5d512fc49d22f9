"""Ask and tell: an outside loop over real HTTP, its leases, and what a tell may hold."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse import Client, ProblemError
from stillhouse.shapes import AskedTrial

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
X = {"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}
KIND = {"name": "kind", "kind": "choice", "choices": ["good", "bad"], "default": "bad"}


def _spec(**changes: Any) -> dict[str, Any]:
    return {
        "name": "outside",
        "runner": "outside",
        "parameters": [X, KIND],
        "objectives": ["loss"],
        "constraints": ["size <= 5"],
        "budget": {"trials": 12},
        "optimizer": {"n_initial": 6},
    } | changes


def _run(config: Any) -> dict[str, float]:
    """Its best with size <= 5 is x = 0.5 and kind good: loss 0.04."""
    loss = (config["x"] - 0.7) ** 2 + (0.0 if config["kind"] == "good" else 0.3)
    return {"loss": loss, "size": 10.0 * config["x"]}


@on_both
def test_an_outside_loop_finds_the_best_that_keeps_the_limit(server: Any) -> None:
    with Client(server.url) as client:
        study = client.studies.create(_spec())
        assert study.state == "running"
        told: dict[str, dict[str, float]] = {}
        while asked := client.studies.ask(study.id, n=4):
            assert len(asked) == 4
            for one in asked:
                told[one.id] = _run(one.config)
                assert client.trials.tell(one, told[one.id]).state == "complete"
        study = client.studies.wait(study.id, poll_s=0.05)
        assert (study.state, len(told)) == ("finished", 12)
        assert study.reason == "all 12 trials are finished"
        kept = {key: one["loss"] for key, one in told.items() if one["size"] <= 5}
        best = min(kept, key=lambda key: kept[key])
        assert study.incumbent is not None
        assert study.incumbent["trial_id"] == best
        assert 0.04 <= study.incumbent["loss"] < 0.1
        trials = client.studies.trials(study.id)
        assert [one.number for one in trials] == list(range(12))
        assert {one.is_feasible for one in trials} == {True, False}
        assert {one.origin for one in trials} == {"initial", "model"}
        found = client.studies.importance(study.id)
        assert set(found.metrics) == {"loss", "size"}
        assert client.studies.ask(study.id) == []
        with pytest.raises(ProblemError, match="no network"):
            client.studies.report(study.id)


def test_the_example_runs(server: Any) -> None:
    script = Path(__file__).parents[2] / "examples" / "outside" / "loop.py"
    environment = {**os.environ, "STILLHOUSE_SERVER": server.url, "TRIALS": "10"}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("best: {'width': ")


def test_a_trial_nobody_tells_is_given_to_the_next_who_asks(serve: Any) -> None:
    server = serve(max_attempts=2)
    with Client(server.url) as client:
        study = client.studies.create(_spec(budget={"trials": 1}))
        (first,) = client.studies.ask(study.id, lease_s=1)
        assert client.studies.ask(study.id) == []  # it is given out, and its budget with it
        deadline = time.monotonic() + 20
        while not (again := client.studies.ask(study.id, lease_s=600)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert again[0].id == first.id and again[0].token != first.token
        assert client.trials.extend(again[0], 60, {"epoch": 1})
        assert client.trials.get(first.id).progress == {"epoch": 1}
        with pytest.raises(ProblemError, match="no longer yours"):
            client.trials.extend(first, 60)
        # Nobody else has told it yet: the late one is taken, the other comes too late.
        assert client.trials.tell(first, {"loss": 1.0, "size": 1.0}).state == "complete"
        with pytest.raises(ProblemError) as refused:
            client.trials.tell(again[0], {"loss": 2.0, "size": 1.0})
        assert refused.value.kind == "/problems/lease-lost"
        done = client.trials.get(first.id)
        assert done.metrics == {"loss": 1.0, "size": 1.0}


def test_a_trial_given_up_too_often_has_failed(serve: Any) -> None:
    server = serve(max_attempts=1)
    with Client(server.url) as client:
        study = client.studies.create(_spec(budget={"trials": 1}))
        (one,) = client.studies.ask(study.id, lease_s=1)
        over = client.studies.wait(study.id, timeout_s=20, poll_s=0.1)
        assert over.reason == "no trial met the constraints"
        failure = client.trials.get(one.id).failure
        assert failure is not None and failure["class"] == "worker-lost"


@on_both
def test_the_same_ask_and_the_same_tell_again_change_nothing(server: Any) -> None:
    study = server.http.post("/v1/studies", json=_spec()).json()["id"]
    path, headers = f"/v1/studies/{study}/ask", {"Idempotency-Key": "ask"}
    first = server.http.post(path, json={"n": 2}, headers=headers)
    again = server.http.post(path, json={"n": 2}, headers=headers)
    assert first.status_code == 200 and len(first.json()["items"]) == 2
    assert again.json()["items"] == first.json()["items"]
    assert len(server.get(f"/v1/studies/{study}/trials")["items"]) == 2
    one = first.json()["items"][0]
    tell = f"/v1/trials/{one['trial']['id']}/tell"
    body = {"token": one["token"], "metrics": {"loss": 0.1, "size": 1}}
    answers = [server.http.post(tell, json=body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    events = server.get(f"/v1/studies/{study}/events")["items"]
    assert sum(e["after"] == "complete" for e in events) == 1
    other = server.http.post(tell, json=body | {"metrics": {"loss": 0.2, "size": 1}})
    assert other.status_code == 409 and "never change" in other.json()["detail"]
    failed = server.http.post(tell, json={"token": one["token"], "failure": {"reason": "no"}})
    assert failed.status_code == 409


IMPOSSIBLE_METRICS = [
    ('{"loss": NaN, "size": 1}', "metrics.loss"),
    ('{"loss": 1e999, "size": 1}', "metrics.loss"),
    ('{"loss": -Infinity, "size": 1}', "metrics.loss"),
    ('{"loss": 1e16, "size": 1}', "metrics.loss"),
    ('{"loss": true, "size": 1}', "metrics.loss"),
    ('{"loss": "0.1", "size": 1}', "metrics.loss"),
    ('{"loss": null, "size": 1}', "metrics.loss"),
    ('{"loss": 0.1}', "metrics.size"),
    ('{"loss": 0.1, "size": 1, "top1": 97.5}', "metrics.top1"),
    ('{"loss": 0.1, "loss_low": 0.2, "size": 1}', "metrics.loss"),
    ("{}", "metrics"),
]


def test_metrics_that_cannot_be_are_refused_by_name(server: Any) -> None:
    study = server.http.post("/v1/studies", json=_spec()).json()["id"]
    (one,) = server.http.post(f"/v1/studies/{study}/ask", json={}).json()["items"]
    trial = one["trial"]["id"]
    for metrics, path in IMPOSSIBLE_METRICS:
        answer = server.http.post(
            f"/v1/trials/{trial}/tell",
            content=f'{{"token": "{one["token"]}", "metrics": {metrics}}}',
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 422, (metrics, answer.text)
        assert [problem["path"] for problem in answer.json()["problems"]] == [path], metrics
    assert server.get(f"/v1/trials/{trial}")["state"] == "asked"


def test_whatever_is_told_is_refused_or_stored_as_it_was(server: Any) -> None:
    study = server.http.post("/v1/studies", json=_spec(budget={"trials": 1000})).json()["id"]
    given_out: list[Any] = []
    numbers = st.floats() | st.integers() | st.booleans() | st.none() | st.text(max_size=3)
    names = st.sampled_from(["loss", "size", "top1", "loss_low", "size_high", "a b", ""])

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(metrics=st.dictionaries(names, numbers, max_size=5))
    def throw(metrics: dict[str, Any]) -> None:
        if not given_out:
            asked = server.http.post(f"/v1/studies/{study}/ask", json={"n": 8}).json()
            given_out.extend(asked["items"])
        one = given_out[0]
        answer = server.http.post(
            f"/v1/trials/{one['trial']['id']}/tell",
            content=json.dumps({"token": one["token"], "metrics": metrics}),
            headers={"Content-Type": "application/json"},
        )
        shown = server.get(f"/v1/trials/{one['trial']['id']}")
        if answer.status_code == 200:
            given_out.pop(0)
            assert shown["metrics"] == metrics
            assert all(math.isfinite(value) for value in metrics.values())
        else:
            assert answer.status_code == 422, answer.text
            assert (shown["state"], shown["metrics"]) == ("asked", None)

    throw()


def test_failures_are_learnt_from_and_strangers_cannot_tell(server: Any) -> None:
    with Client(server.url) as client:
        study = client.studies.create(_spec())
        asked = client.studies.ask(study.id, 2)
        lost = client.trials.tell_failure(asked[0], "the loss was NaN", "diverged")
        assert (lost.state, lost.failure) == (
            "failed",
            {"stage": "outside", "class": "diverged", "reason": "the loss was NaN", "log": []},
        )
        assert client.trials.tell_failure(asked[0], "again", "diverged").failure == lost.failure
        gone = client.trials.tell_failure(asked[1], "no such operator", "unsupported")
        assert gone.state == "unsupported"
        (mine,) = client.studies.ask(study.id)
        stranger = AskedTrial.from_json({**mine.json, "token": "made up"})
        with pytest.raises(ProblemError) as refused:
            client.trials.tell(stranger, {"loss": 1.0, "size": 1.0})
        assert refused.value.kind == "/problems/lease-lost"
        client.studies.cancel(study.id)
        assert client.trials.extend(mine) is False
        with pytest.raises(ProblemError, match="cancelled"):
            client.studies.ask(study.id)


@on_both
def test_a_tell_of_an_unknown_trial_is_told_so_and_the_study_goes_on(server: Any) -> None:
    with Client(server.url) as client:
        study, other = (client.studies.create(_spec(budget={"trials": 3})) for _ in range(2))
        (mine,) = client.studies.ask(study.id)
        (theirs,) = client.studies.ask(other.id)
        good = {"loss": 1.0, "size": 1.0}
        acts: dict[str, list[dict[str, Any]]] = {
            "tell": [
                {"token": mine.token, "metrics": good},
                {"token": mine.token, "failure": {"class": "diverged", "reason": "NaN"}},
            ],
            "extend": [{"token": mine.token}],
        }
        for unknown in ("trl_none", mine.id.upper(), study.id, "0", "x" * 300, "%00", "caf%C3%A9"):
            for act, bodies in acts.items():
                for body in bodies:
                    answer = server.http.post(f"/v1/trials/{unknown}/{act}", json=body)
                    assert answer.status_code in (404, 422), (unknown, act, answer.text)
                    assert answer.json()["type"].startswith("/problems/"), answer.text
        plain = server.http.post("/v1/trials/trl_none/tell", json=acts["tell"][0])
        assert (plain.status_code, plain.json()["detail"]) == (404, "no trial trl_none")
        # Known, but another study's: the token does not fit.
        with pytest.raises(ProblemError) as refused:
            client.trials.tell(AskedTrial.from_json({**theirs.json, "token": mine.token}), good)
        assert refused.value.kind == "/problems/lease-lost"

        assert {one.id for one in client.studies.trials(study.id)} == {mine.id}
        for one in (mine, theirs):
            assert client.trials.tell(one, good).metrics == good
        while asked := client.studies.ask(study.id, 1):
            client.trials.tell(asked[0], good)
        assert client.studies.get(study.id).counts["complete"] == 3


def test_a_study_of_this_servers_own_gives_nothing_away(server: Any, connect: Any) -> None:
    study = server.study()
    answer = server.http.post(f"/v1/studies/{study}/ask", json={})
    assert answer.status_code == 409 and "run by this server" in answer.json()["detail"]


IMPOSSIBLE_STUDIES: list[tuple[dict[str, Any], list[str]]] = [
    ({"baseline": "bsl_x", "device": "CPU"}, ["baseline", "device"]),
    (
        {"parallel": 4, "budget": {"trials": 1, "compute_s": 5}},
        ["parallel", "budget.compute_s"],
    ),
    ({"parameters": None}, ["parameters"]),
    ({"template": "version: 1"}, ["parameters"]),
    ({"objectives": ["my loss"]}, ["objectives[0]"]),
    ({"objectives": ["a", "a"]}, ["objectives[1]"]),
    ({"constraints": ["size <= 0.5 * baseline", "size"]}, ["constraints[0]", "constraints[1]"]),
    ({"parameters": [{**X, "high": -1.0}]}, ["parameters[0].low"]),
    ({"parameters": [X, X]}, ["parameters[1].name"]),
    ({"forbidden": [{"kind": "worse"}]}, ["forbidden[0].kind"]),
    ({"warm_start": ["std_none"]}, ["warm_start[0]"]),
]


def test_a_study_that_cannot_work_is_refused_by_path(server: Any) -> None:
    for changes, paths in IMPOSSIBLE_STUDIES:
        spec = {key: value for key, value in _spec(**changes).items() if value is not None}
        answer = server.http.post("/v1/studies", json=spec)
        assert answer.status_code == 422, (changes, answer.text)
        assert [problem["path"] for problem in answer.json()["problems"]] == paths, changes
    assert server.get("/v1/studies")["items"] == []


def test_a_template_outside_gives_schedules_to_run(server: Any, template: str) -> None:
    spec = _spec(template=template, training="epochs: 4\n")
    del spec["parameters"]
    with Client(server.url) as client:
        study = client.studies.create(spec)
        (one,) = client.studies.ask(study.id)
        assert one.schedule is not None and one.training == {"epochs": 4}
        share = one.config["pruners.filters.final_sparsity"]
        assert one.schedule["pruners"]["filters"]["final_sparsity"] == share
        own = client.studies.enqueue(study.id, {"pruners.filters.final_sparsity": 0.25})
        assert [asked.id for asked in client.studies.ask(study.id)] == [own.id]


def test_asking_and_telling_from_the_command_line(at: Any, server: Any) -> None:
    study = server.http.post("/v1/studies", json=_spec()).json()["id"]
    status, said, _ = at("study", "ask", study, "-n", "2", "--json")
    assert status == 0
    first, second = json.loads(said)
    names = ("--set", "loss=0.5", "--set", "size=2")
    status, said, _ = at("trial", "tell", first["trial"]["id"], "--token", first["token"], *names)
    assert (status, said) == (0, "trial 0: loss 0.5, size 2, feasible\n")
    status, said, _ = at(
        "trial", "tell", second["trial"]["id"], "--token", second["token"], "--failed", "it fell"
    )
    assert (status, said) == (0, "trial 1: failed in outside: it fell\n")
    assert at("study", "show", study)[0] == 0
    assert at("trial", "show", first["trial"]["id"])[0] == 0
    assert at("study", "list")[0] == 0
