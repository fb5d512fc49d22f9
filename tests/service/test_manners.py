"""How the API behaves: keys, ETags, waits, streams, limits; clones, priorities, own configs."""

import threading
import time
from typing import Any

import httpx
import pytest

from stillhouse import Client, ProblemError

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
WANTED = {"model": "resnet20_cifar", "dataset": "digits"}


def _running(server: Any, connect: Any, **changes: Any) -> tuple[str, Any]:
    study = server.study(**changes)
    host = connect(server)
    assert host.measure(host.lease()).status_code == 204
    return study, host


@on_both
def test_a_request_sent_twice_with_one_key_is_done_once(server: Any) -> None:
    headers = {"Idempotency-Key": "one"}
    first = server.http.post("/v1/baselines", json=WANTED, headers=headers)
    again = server.http.post("/v1/baselines", json=WANTED, headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.json()["id"] == again.json()["id"]  # as it stands now
    other = server.http.post("/v1/baselines", json=WANTED, headers={"Idempotency-Key": "two"})
    assert other.json()["id"] != first.json()["id"]
    assert len(server.get("/v1/baselines")["items"]) == 2


@on_both
def test_duplicates_at_the_same_moment_make_one_study(server: Any) -> None:
    spec = server.spec()
    made: list[httpx.Response] = []

    def send() -> None:
        headers = {"Idempotency-Key": "k"}
        made.append(httpx.post(f"{server.url}/v1/studies", json=spec, headers=headers, timeout=60))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in made] == [201] * 4
    assert len({answer.json()["id"] for answer in made}) == 1
    assert len(server.get("/v1/studies")["items"]) == 1


def test_a_late_duplicate_of_a_pause_does_not_pause_again(server: Any, connect: Any) -> None:
    study, _ = _running(server, connect)
    headers = {"Idempotency-Key": "pause"}
    path = f"/v1/studies/{study}/pause"
    assert server.http.post(path, headers=headers).json()["state"] == "paused"
    assert server.http.post(f"/v1/studies/{study}/resume").json()["state"] == "running"
    assert server.http.post(path, headers=headers).json()["state"] == "running"


def test_a_key_used_for_something_else_is_refused(server: Any) -> None:
    headers = {"Idempotency-Key": "one"}
    server.http.post("/v1/baselines", json=WANTED, headers=headers)
    answer = server.http.post("/v1/baselines", json={**WANTED, "seed": 1}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/idempotency-key-reused"
    assert len(server.get("/v1/baselines")["items"]) == 1


def test_a_refused_request_may_be_mended_under_its_key(server: Any) -> None:
    headers = {"Idempotency-Key": "one"}
    bad = server.http.post("/v1/baselines", json={**WANTED, "model": "x"}, headers=headers)
    assert bad.status_code == 422
    assert server.http.post("/v1/baselines", json=WANTED, headers=headers).status_code == 201


def _still(server: Any) -> str:
    """A study of which nothing changes any more: it has said that nobody offers its device."""
    study = str(server.study())
    deadline = time.monotonic() + 20
    while server.get(f"/v1/studies/{study}")["reason"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return study


def test_a_poll_that_brings_nothing_new_is_a_304(server: Any) -> None:
    study = _still(server)
    for path in (f"/v1/studies/{study}", "/v1/studies", f"/v1/studies/{study}/trials"):
        first = server.http.get(path)
        known = {"If-None-Match": first.headers["etag"]}
        again = server.http.get(path, headers=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    server.http.post(f"/v1/studies/{study}/cancel")
    assert server.http.get(f"/v1/studies/{study}", headers=known).status_code == 200


def test_a_wait_ends_with_the_news_and_without_it_after_its_time(server: Any) -> None:
    path = f"/v1/studies/{_still(server)}"
    known = {"If-None-Match": server.http.get(path).headers["etag"]}
    begun = time.monotonic()
    assert server.http.get(f"{path}?wait=0.5", headers=known).status_code == 304
    assert time.monotonic() - begun >= 0.5
    threading.Timer(0.3, lambda: httpx.post(f"{server.url}{path}/cancel")).start()
    begun = time.monotonic()
    answer = server.http.get(f"{path}?wait=20", headers=known)
    assert answer.status_code == 200
    assert answer.json()["state"] == "cancelled"
    assert time.monotonic() - begun < 10
    assert server.http.get(f"{path}?wait=20").status_code == 200  # knows nothing: gets it at once
    assert server.http.get(f"{path}?wait=soon").status_code == 422


def test_sixty_waiting_clients_do_not_hold_up_the_server(server: Any) -> None:
    path = f"{server.url}/v1/studies/{_still(server)}"
    known = {"If-None-Match": server.http.get(path).headers["etag"]}
    limits = httpx.Limits(max_connections=100)
    with httpx.Client(timeout=30, limits=limits, verify=False) as many:
        threads = [
            threading.Thread(target=lambda: many.get(f"{path}?wait=2", headers=known))
            for _ in range(60)  # more than the server has threads
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        begun = time.monotonic()
        assert server.get("/healthz")["status"] == "ok"
        assert time.monotonic() - begun < 2.0
        for thread in threads:
            thread.join(timeout=30)


def _events(answer: httpx.Response) -> list[tuple[int, str]]:
    found = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if fields.get("event") == "event":
            found.append((int(fields["id"]), fields["data"]))
    return found


def test_events_stream_until_the_study_is_over_and_go_on_where_a_client_left(server: Any) -> None:
    study = server.study()
    path = f"/v1/studies/{study}/events"
    heard: list[httpx.Response] = []

    def listen() -> None:
        heard.append(httpx.get(f"{server.url}{path}/stream", timeout=30))

    thread = threading.Thread(target=listen)
    thread.start()
    time.sleep(0.3)
    server.http.post(f"/v1/studies/{study}/cancel")
    thread.join(timeout=30)
    assert heard[0].headers["content-type"].startswith("text/event-stream")
    all_of_it = _events(heard[0])
    assert [n for n, _ in all_of_it] == [e["number"] for e in server.get(path)["items"]]
    assert '"after":"cancelled"' in all_of_it[-1][1]
    half = all_of_it[len(all_of_it) // 2][0]
    rest = server.http.get(f"{path}/stream", headers={"Last-Event-ID": str(half)})
    assert _events(rest) == [event for event in all_of_it if event[0] > half]
    assert server.http.get("/v1/studies/std_none/events/stream").status_code == 404


def test_a_body_that_is_too_large_is_refused_whether_or_not_it_says_so(serve: Any) -> None:
    server = serve(max_body_bytes=1000)
    headers = {"Content-Type": "application/json"}
    for content in (b"x" * 1001, iter([b"x" * 600] * 3)):
        answer = server.http.post("/v1/studies", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "/problems/body-too-large"
    assert server.http.post("/v1/baselines", json=WANTED).status_code == 201


@on_both
def test_a_clone_is_the_same_study_but_for_its_changes(server: Any) -> None:
    study = server.study(budget={"trials": 3}, seed=5)
    with Client(server.url) as client:
        made = client.studies.clone(study, {"budget": {"trials": 7}, "name": "longer"})
        assert made.id != study
        assert made.spec["budget"]["trials"] == 7
        before = client.studies.get(study)
        assert made.spec["template"] == before.spec["template"]
        assert made.spec["seed"] == 5
        with pytest.raises(ProblemError) as refused:
            client.studies.clone(study, {"device": "TOASTER"})
        assert [problem.path for problem in refused.value.problems] == ["device"]
        with pytest.raises(ProblemError) as refused:
            client.studies.clone(study, {"colour": "red"})
    assert len(server.get("/v1/studies")["items"]) == 2


@on_both
def test_the_more_urgent_study_goes_first(server: Any, connect: Any) -> None:
    baseline = server.baseline()
    studies = [server.study(baseline=baseline) for _ in range(3)]
    with Client(server.url) as client:
        assert client.studies.set_priority(studies[2], 5).json["priority"] == 5
        client.studies.set_priority(studies[0], -5)
    host = connect(server)
    order = []
    for _ in studies:
        lease = host.lease()
        with server.store.read() as view:
            order.append(view.stages.stage(lease["job"]["id"]).study_id)
        host.fail(lease, "unsupported")
    assert order == [studies[2], studies[1], studies[0]]
    events = server.get(f"/v1/studies/{studies[2]}/events")["items"]
    told = [(e["before"], e["after"]) for e in events if e["kind"] == "priority"]
    assert told == [("0", "5")]
    answer = server.http.post(f"/v1/studies/{studies[0]}/priority", json={"priority": 1})
    assert answer.status_code == 409  # it has ended


@on_both
def test_a_config_of_the_users_own_is_run_and_learnt_from(server: Any, connect: Any) -> None:
    study, host = _running(server, connect, budget={"trials": 3})
    own = {"pruners.filters.final_sparsity": 0.25, "training.lr": 0.02}
    with Client(server.url) as client:
        client.studies.pause(study)
        trial = client.studies.enqueue(study, own)
        assert (trial.origin, dict(trial.config)) == ("enqueued", own)
        for config, path in (
            ({**own, "training.lr": 7.0}, "config.training.lr"),
            ({"training.lr": 0.02}, "config.pruners.filters.final_sparsity"),
            ({**own, "colour": 1}, "config.colour"),
        ):
            with pytest.raises(ProblemError) as refused:
                client.studies.enqueue(study, config)
            assert [problem.path for problem in refused.value.problems] == [path]
        client.studies.resume(study)
        while client.studies.get(study).state == "running":
            server.compute_all()
            answer = host.ask(0.05)
            if answer.status_code == 200:
                host.measure(answer.json())
        trials = client.studies.trials(study)
        assert len(trials) == 3
        assert {one.state for one in trials} == {"complete"}
        done = next(one for one in trials if one.id == trial.id)
        assert done.is_feasible is True
        with pytest.raises(ProblemError, match="finished"):
            client.studies.enqueue(study, own)


def test_own_configs_clones_and_priorities_from_the_command_line(
    at: Any, server: Any, connect: Any
) -> None:
    study, _ = _running(server, connect, budget={"trials": 2})
    server.http.post(f"/v1/studies/{study}/pause")
    names = ("--set", "pruners.filters.final_sparsity=0.25", "--set", "training.lr=0.02")
    status, said, _ = at("trial", "enqueue", study, *names)
    assert status == 0 and f"of {study}" in said
    status, said, _ = at("study", "priority", study, "3")
    assert (status, said) == (0, f"{study} has priority 3\n")
    status, said, _ = at("study", "clone", study, "--trials", "9", "--json")
    assert status == 0 and '"trials": 9' in said
