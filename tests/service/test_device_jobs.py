"""What device hosts get, over real HTTP: leases, tokens, losses, failures."""

import base64
import threading
import time
from typing import Any

import httpx
import pytest

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)


def _wait_for(server: Any, study: str, state: str, timeout_s: float = 20.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        found = server.get(f"/v1/studies/{study}")
        if found["state"] == state:
            return found
        assert time.monotonic() < deadline, f"still {found['state']}: {found['reason']}"
        time.sleep(0.02)


@on_both
def test_a_host_that_registers_again_keeps_its_ids(server: Any, connect: Any) -> None:
    host = connect(server)
    before = (host.worker_id, host.device_id)
    known = host.register()
    assert (host.worker_id, host.device_id) == before
    assert known["lease_s"] == 30.0
    assert known["heartbeat_s"] == 5.0


@pytest.mark.parametrize("version", ["0", "2", "one"])
def test_another_protocol_version_is_told_to_upgrade(server: Any, version: str) -> None:
    headers = {"Stillhouse-Protocol": version}
    answer = server.http.post("/v1/workers", json={}, headers=headers)
    assert answer.status_code == 426
    assert "pip install --upgrade" in answer.json()["detail"]


def test_a_message_that_breaks_the_protocol_names_its_field(server: Any, connect: Any) -> None:
    host = connect(server)
    body = {"name": "x", "version": "1", "devices": [{**host.device, "max_opset": "high"}]}
    answer = host.http.post("/v1/workers", json=body)
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["path"] == "devices[0].max_opset"


def test_an_unknown_host_is_told_to_register(server: Any, connect: Any) -> None:
    host = connect(server)
    host.worker_id = "wrk_none"
    answer = host.ask()
    assert answer.status_code == 404
    assert "register again" in answer.json()["detail"]


def test_a_host_gets_nothing_when_there_is_nothing_for_its_device(
    server: Any, connect: Any
) -> None:
    server.study(device="CPU")
    assert connect(server, kind="MYRIAD").ask().status_code == 204


def test_the_check_measures_the_baseline_against_itself(server: Any, connect: Any) -> None:
    study = server.study()
    host = connect(server)
    job = host.lease()["job"]
    assert job["kind"] == "benchmark"
    assert job["candidate"] == job["baseline"]
    assert job["split"] == "validation"
    assert job["device"] == "CPU"
    content = host.http.get(f"/v1/artifacts/{job['data']['sha256']}").content
    assert len(content) == job["data"]["bytes"]
    assert server.get(f"/v1/studies/{study}")["state"] == "checking"


def test_a_job_carries_the_timing_settings_of_its_study(server: Any, connect: Any) -> None:
    server.study(timing={"time_limit_s": 7.5, "n_compilations": 2})
    settings = connect(server).lease()["job"]["settings"]
    assert settings["time_limit_s"] == 7.5
    assert settings["n_compilations"] == 2
    assert settings["max_aa_deviation"] == 0.05


@on_both
def test_a_passed_check_starts_the_study(server: Any, connect: Any) -> None:
    study = server.study()
    host = connect(server)
    assert host.measure(host.lease()).status_code == 204
    found = _wait_for(server, study, "running")
    assert found["baseline_measurement"]["p50_ms"] == 2.0
    assert found["baseline_measurement"]["validation_top1"] == pytest.approx(0.98)
    assert found["baseline_measurement"]["macs"] == 40_000_000


@pytest.mark.parametrize("failure_class", ["unsupported", "out-of-memory", "mismatch"])
def test_a_device_that_cannot_run_the_baseline_rejects_the_study(
    server: Any, connect: Any, failure_class: str
) -> None:
    study = server.study()
    host = connect(server)
    assert host.fail(host.lease(), failure_class, layers=["fc"]).status_code == 204
    found = _wait_for(server, study, "rejected")
    assert "it was so" in found["reason"]


def test_a_threshold_above_what_the_device_reaches_rejects_the_study(
    server: Any, connect: Any
) -> None:
    study = server.study(constraints=["top1 >= 0.98"])  # training said 0.98
    host = connect(server)
    assert host.measure(host.lease(), n_correct=293, n_baseline=293).status_code == 204
    assert "0.9767" in _wait_for(server, study, "rejected")["reason"]


@on_both
def test_a_busy_host_is_asked_again_until_the_attempts_are_spent(serve: Any, connect: Any) -> None:
    server = serve(max_attempts=2)
    study = server.study()
    host = connect(server)
    assert host.fail(host.lease(), "gate").status_code == 204
    assert server.get(f"/v1/studies/{study}")["state"] == "checking"
    assert host.fail(host.lease(), "gate").status_code == 204
    found = _wait_for(server, study, "failed")
    assert "given up after 2 attempts" in found["reason"]


@on_both
def test_a_released_job_costs_no_attempt(serve: Any, connect: Any) -> None:
    server = serve(max_attempts=1)
    study = server.study()
    host = connect(server)
    for _ in range(3):
        assert host.tell(host.lease(), "release").status_code == 204
    assert host.measure(host.lease()).status_code == 204
    _wait_for(server, study, "running")


@on_both
def test_a_lease_that_runs_out_is_handed_to_another_host(serve: Any, connect: Any) -> None:
    server = serve(lease_s=0.3)
    study = server.study()
    lost = connect(server, "edge-1").lease()
    other = connect(server, "edge-2")
    lease = other.lease()
    assert lease["job"]["id"] == lost["job"]["id"]
    assert lease["token"] != lost["token"]
    assert other.measure(lease).status_code == 204
    _wait_for(server, study, "running")


def test_a_heartbeat_keeps_the_lease(serve: Any, connect: Any) -> None:
    server = serve(lease_s=1.2)
    server.study()
    host, other = connect(server, "edge-1"), connect(server, "edge-2")
    lease = host.lease()
    progress = {"stage": "timing", "fraction": 0.4}
    for _ in range(7):
        time.sleep(0.2)
        answer = host.tell(lease, "heartbeat", progress=progress)
        assert answer.json() == {"expires_in_s": 1.2, "is_cancelled": False}
    assert other.ask().status_code == 204
    assert host.measure(lease).status_code == 204


@on_both
def test_a_late_result_is_taken_when_nobody_else_has_finished(serve: Any, connect: Any) -> None:
    server = serve(lease_s=0.2)
    study = server.study()
    slow, other = connect(server, "edge-1"), connect(server, "edge-2")
    late = slow.lease()
    lease = other.lease()  # the first one has run out
    assert slow.tell(late, "heartbeat").status_code == 409
    assert slow.measure(late).status_code == 204
    _wait_for(server, study, "running")
    refused = other.measure(lease)
    assert refused.status_code == 409
    assert refused.json()["type"] == "/problems/lease-lost"


def test_raw_times_are_kept_as_an_artifact(server: Any, connect: Any, result: Any) -> None:
    study = server.study()
    host = connect(server)
    lease = host.lease()
    packed = base64.b64encode(b"all the times").decode()
    refused = host.tell(lease, "result", result=result() | {"raw_times": "no base64!"})
    assert refused.status_code == 422
    assert refused.json()["problems"][0]["path"] == "result.raw_times"
    kept = host.tell(lease, "result", result=result() | {"raw_times": packed})
    assert kept.status_code == 204
    with server.store.read() as view:
        (row,) = view.log.measurements_of_study(study)
        sha256 = row.result["raw_times"]
    assert server.http.get(f"/v1/artifacts/{sha256}").content == b"all the times"


@on_both
def test_the_same_result_twice_is_one_measurement(server: Any, connect: Any) -> None:
    study = server.study()
    host = connect(server)
    lease = host.lease()
    assert host.measure(lease).status_code == 204
    assert host.measure(lease).status_code == 204
    with server.store.read() as view:
        assert len(view.log.measurements_of_study(study)) == 1


def test_a_failure_after_the_result_changes_nothing(server: Any, connect: Any) -> None:
    study = server.study()
    host = connect(server)
    lease = host.lease()
    assert host.measure(lease).status_code == 204
    assert host.fail(lease, "unsupported").status_code == 204
    assert host.tell(lease, "release").status_code == 204
    assert server.get(f"/v1/studies/{study}")["state"] == "running"


@pytest.mark.parametrize("verb", ["heartbeat", "release"])
def test_a_stranger_with_a_wrong_token_changes_nothing(
    server: Any, connect: Any, verb: str
) -> None:
    study = server.study()
    host = connect(server)
    lease = host.lease()
    assert host.tell({**lease, "token": "guessed"}, verb).status_code == 409
    assert host.measure({**lease, "token": "guessed"}).status_code == 409
    assert host.fail({**lease, "token": "guessed"}, "unsupported").status_code == 409
    assert server.get(f"/v1/studies/{study}")["state"] == "checking"
    assert host.measure(lease).status_code == 204


def test_a_lease_nobody_gave_out_is_not_found(server: Any, connect: Any) -> None:
    host = connect(server)
    assert host.measure({"id": "lse_none", "token": "x"}).status_code == 404


def test_a_result_that_is_no_result_is_refused_and_the_lease_lives(
    server: Any, connect: Any
) -> None:
    study = server.study()
    host = connect(server)
    lease = host.lease()
    answer = host.tell(lease, "result", result={"latency_ratio": "fast"})
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["path"].startswith("result.")
    assert host.measure(lease).status_code == 204
    _wait_for(server, study, "running")


@on_both
def test_a_device_that_asks_again_has_let_go_of_its_job(server: Any, connect: Any) -> None:
    server.study()
    host = connect(server)
    first = host.lease()
    second = host.lease()  # the host was started anew and knows nothing of the first
    assert second["job"]["id"] == first["job"]["id"]
    assert second["id"] != first["id"]


@on_both
def test_a_cancelled_study_tells_its_host_with_the_next_heartbeat(
    server: Any, connect: Any
) -> None:
    study = server.study()
    host = connect(server)
    lease = host.lease()
    server.http.post(f"/v1/studies/{study}/cancel")
    assert host.tell(lease, "heartbeat").json()["is_cancelled"] is True
    assert host.measure(lease).status_code == 409
    assert host.tell(lease, "release").status_code == 204
    assert server.get(f"/v1/studies/{study}")["state"] == "cancelled"


@on_both
def test_a_waiting_host_hears_of_a_new_job_at_once(server: Any, connect: Any) -> None:
    baseline = server.baseline()
    host = connect(server)
    answers: list[tuple[float, httpx.Response]] = []

    def wait() -> None:
        answer = host.ask(wait_s=20)
        answers.append((time.monotonic(), answer))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    server.study(baseline=baseline)
    made_at = time.monotonic()
    thread.join(timeout=20)
    heard_at, answer = answers[0]
    assert answer.status_code == 200
    assert heard_at - made_at < 0.9  # without the bell it would look once a second


def test_fifty_waiting_hosts_do_not_hold_up_the_server(server: Any, connect: Any) -> None:
    # More than the server has threads: who waits must not hold one.
    hosts = [connect(server, f"edge-{i}") for i in range(50)]
    threads = [threading.Thread(target=host.ask, args=(2.0,)) for host in hosts]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    begun = time.monotonic()
    assert server.get("/healthz")["status"] == "ok"
    assert time.monotonic() - begun < 2.0
    for thread in threads:
        thread.join(timeout=30)


@on_both
def test_a_study_says_that_nobody_offers_its_device(serve: Any, connect: Any) -> None:
    server = serve(device_ttl_s=1.5)
    study = server.study(device="GPU")

    def reason() -> str:
        return str(server.get(f"/v1/studies/{study}")["reason"])

    deadline = time.monotonic() + 10
    while "no live worker offers GPU, and none ever has" not in reason():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    host = connect(server, kind="GPU")
    deadline = time.monotonic() + 10
    while reason() != "None":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert host.http.get("/v1/devices").json()["items"][0]["kind"] == "GPU"
    while "no live worker offers GPU since 20" not in reason():
        assert time.monotonic() < deadline
        time.sleep(0.05)
