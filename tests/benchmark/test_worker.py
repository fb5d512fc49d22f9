"""The whole worker as its own process against a real HTTP server, on the real CPU."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from stillhouse_benchmark.protocol import FAILURE_CLASSES, CheckResult, Failure, Result

MakeJob = Callable[..., Dict[str, Any]]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_job_comes_back_as_a_result_and_the_worker_leases_again(
    server: Any, worker: Any, make_job: MakeJob
) -> None:
    server.add(make_job(server.shelf))
    worker.start(server.url)
    first = Result.from_json(server.wait("result"))
    assert first.latency_ratio < 0.8
    server.add(make_job(server.shelf))
    second = Result.from_json(server.wait("result"))
    assert second.accuracy == first.accuracy
    device = server.workers["wrk_1"]["devices"][0]
    assert device["name"] == "CPU" and device["host"] == "edge"
    assert worker.end() == 0


def test_a_check_job_compiles_and_times_nothing(
    server: Any, worker: Any, slim_net: Any, wide_net: Any
) -> None:
    networks = [
        {"name": name, "file": server.shelf.put(net.onnx())}
        for name, net in (("slim", slim_net), ("wide", wide_net))
    ]
    server.add({"id": "job_1", "kind": "check", "device": "CPU", "networks": networks})
    server.add({"id": "job_2", "kind": "check", "device": "MYRIAD", "networks": networks})
    worker.start(server.url)
    said = CheckResult.from_json(server.wait("check"))
    assert [said.networks[name].is_supported for name in ("slim", "wide")] == [True, True]
    # This runtime has no compiler for the stick, and says which has.
    assert "openvino2021" in Failure.from_json(server.wait("failure")).reason


def test_the_second_job_downloads_nothing_it_has(
    server: Any, worker: Any, make_job: MakeJob
) -> None:
    job = make_job(server.shelf)
    server.add(job)
    server.add(job)
    worker.start(server.url)
    server.wait("result")
    n_downloads = len(server.ranges)
    server.wait("result")
    assert len(server.ranges) == n_downloads


def test_bad_jobs_fail_with_their_class_and_the_next_one_is_done(
    server: Any, worker: Any, make_job: MakeJob, slim_net: Any
) -> None:
    server.add(make_job(server.shelf, candidate=b"no network at all"))
    missing = make_job(server.shelf)
    missing["candidate"] = {"sha256": "f" * 64, "bytes": 10}
    server.add(missing)
    server.add(make_job(server.shelf, device="GPU"))
    server.add(make_job(server.shelf))
    worker.start(server.url)
    garbage = Failure.from_json(server.wait("failure"))
    assert garbage.failure_class == "bad-artifact"
    absent = Failure.from_json(server.wait("failure"))
    assert absent.failure_class == "bad-artifact" and "404" in absent.reason
    other = Failure.from_json(server.wait("failure"))
    assert "this is CPU" in other.reason
    server.wait("result")


def test_a_job_that_cannot_be_read_fails_and_the_next_one_is_done(
    server: Any, worker: Any, make_job: MakeJob
) -> None:
    server.add({**make_job(server.shelf), "kind": "dance"})
    server.add(make_job(server.shelf))
    worker.start(server.url)
    failure = Failure.from_json(server.wait("failure"))
    assert "job.kind" in failure.reason
    server.wait("result")


def test_content_that_is_not_the_announced_one_is_refused(
    server: Any, worker: Any, make_job: MakeJob
) -> None:
    job = make_job(server.shelf)
    sha = job["candidate"]["sha256"]
    data = bytearray(server.shelf.files[sha])
    data[-1] ^= 1
    server.shelf.files[sha] = bytes(data)
    server.add(job)
    worker.start(server.url)
    failure = Failure.from_json(server.wait("failure"))
    assert failure.failure_class == "bad-artifact" and "arrived with hash" in failure.reason


def test_a_download_that_breaks_off_goes_on_where_it_stopped(
    server: Any, worker: Any, make_job: MakeJob
) -> None:
    job = make_job(server.shelf)
    server.cut_after[job["baseline"]["sha256"]] = 1000
    server.add(job)
    worker.start(server.url)
    server.wait("result")
    assert "bytes=1000-" in server.ranges


def test_a_forgotten_worker_registers_again(
    server: Any, worker: Any, make_job: MakeJob, until: Any
) -> None:
    worker.start(server.url)
    until(lambda: "wrk_1" in server.workers)
    server.workers.clear()
    until(lambda: server.n_registrations == 2)
    server.add(make_job(server.shelf))
    server.wait("result")


def test_a_result_waits_for_a_server_that_was_away(
    server: Any, worker: Any, make_job: MakeJob, until: Any
) -> None:
    server.add(make_job(server.shelf))
    worker.start(server.url)
    until(lambda: any(beat["stage"] == "timing" for beat in server.heartbeats))
    server.is_down = True
    time.sleep(3.0)
    server.is_down = False
    server.wait("result")


def test_a_worker_told_to_stop_hands_its_job_back_and_leaves_nothing_running(
    server: Any, worker: Any, make_job: MakeJob, until: Any
) -> None:
    server.add(make_job(server.shelf, settings={"target_interval": 1e-9, "time_limit_s": 60.0}))
    worker.start(server.url)
    until(lambda: any(beat["stage"] == "timing" for beat in server.heartbeats))
    children = worker.children()
    assert children
    assert worker.end() == 0
    server.wait("release")
    assert not any(is_running(pid) for pid in children)


def test_a_cancelled_job_is_dropped_without_a_word(
    server: Any, worker: Any, make_job: MakeJob, until: Any
) -> None:
    server.add(make_job(server.shelf, settings={"target_interval": 1e-9, "time_limit_s": 60.0}))
    worker.start(server.url)
    until(lambda: any(beat["stage"] == "timing" for beat in server.heartbeats))
    server.cancelled.add("lse_1")
    server.add(make_job(server.shelf))
    server.wait("result")
    assert server.events.empty()


def test_a_killed_inference_process_costs_one_attempt_and_nothing_else(
    server: Any, worker: Any, make_job: MakeJob, until: Any
) -> None:
    server.add(make_job(server.shelf, settings={"n_compilations": 10}))
    worker.start(server.url)
    until(lambda: any(beat["stage"] == "timing" for beat in server.heartbeats))
    for pid in worker.children():
        os.kill(pid, signal.SIGKILL)
    server.wait("result")


def test_inference_dies_with_a_worker_that_is_killed(
    server: Any, worker: Any, make_job: MakeJob, until: Any
) -> None:
    server.add(make_job(server.shelf, settings={"target_interval": 1e-9, "time_limit_s": 60.0}))
    worker.start(server.url)
    until(lambda: any(beat["stage"] == "timing" for beat in server.heartbeats))
    children = worker.children()
    assert worker.process is not None and children
    worker.process.kill()
    until(lambda: not any(is_running(pid) for pid in children), 10.0)


def test_a_device_serves_one_worker_at_a_time(server: Any, worker: Any, until: Any) -> None:
    worker.start(server.url)
    until(lambda: server.n_registrations == 1)
    assert worker.process is not None
    first = worker.process
    worker.start(server.url, "--device-wait", "0.5")
    assert worker.process.wait(timeout=40) == 1
    assert "in use by another stillhouse-worker" in worker.log.read_text()
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("factory", "failure_class"),
    [("hanging", "timeout"), ("crashing", "device-fault"), ("refusing", "unsupported")],
)
def test_a_bad_device_fails_its_job_and_not_the_worker(
    server: Any, worker: Any, make_job: MakeJob, factory: str, failure_class: str
) -> None:
    assert failure_class in FAILURE_CLASSES
    server.add(make_job(server.shelf))
    server.add(make_job(server.shelf))
    worker.start(server.url, "--runtime", f"bad_devices:{factory}", "--silence-limit", "2")
    for _ in range(2):
        failure = Failure.from_json(server.wait("failure"))
        assert failure.failure_class == failure_class
    assert failure.layers == (("fc",) if factory == "refusing" else ())


def test_an_upgrade_is_asked_for_and_ends_the_worker(server: Any, worker: Any) -> None:
    server.refuse["/v1/workers"] = 426
    worker.start(server.url)
    assert worker.process is not None
    assert worker.process.wait(timeout=30) == 1
    assert "426" in worker.log.read_text()


def test_an_unknown_device_ends_with_the_list_of_those_here(worker: Any, server: Any) -> None:
    worker.start(server.url, "--device", "TOASTER")
    assert worker.process is not None
    assert worker.process.wait(timeout=30) == 1
    assert "here are: CPU" in worker.log.read_text()
