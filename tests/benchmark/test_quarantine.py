"""Sick devices sit out until they compute again; corrupted networks never end a worker."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Callable

import pytest

from stillhouse_benchmark.backends import load_backend
from stillhouse_benchmark.protocol import Failure
from stillhouse_benchmark.quarantine import Quarantine
from stillhouse_benchmark.selftest import self_test


def quarantine(wait: Callable[[float], bool], runtime: str = "openvino", reset: Any = None) -> Any:
    return Quarantine("CPU", runtime, 3, reset, wait)


def test_a_real_cpu_passes_the_self_test() -> None:
    self_test(load_backend("openvino"), "CPU")


def test_three_device_failures_in_a_row_need_a_test_and_a_result_clears_them() -> None:
    watched = quarantine(lambda wait_s: True)
    for failure_class in ("device-fault", "timeout", "mismatch"):
        watched.tell(failure_class)
    assert not watched.is_needed  # a mismatch is the network's fault
    watched.tell(None)
    for _ in range(3):
        watched.tell("device-fault")
    assert watched.is_needed


def test_a_device_that_is_well_comes_back_at_once() -> None:
    watched = quarantine(lambda wait_s: True)
    for _ in range(3):
        watched.tell("device-fault")
    assert watched.sit_out()
    assert not watched.is_needed


def test_a_sick_device_is_reset_and_waits_longer_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    waits: list[float] = []

    def wait(wait_s: float) -> bool:
        waits.append(wait_s)
        return len(waits) == 2

    log = tmp_path / "resets"
    watched = quarantine(wait, "bad_devices:crashing", f"echo reset >> {log}")
    assert not watched.sit_out()
    assert waits == [5.0, 10.0]
    assert log.read_text().split() == ["reset", "reset"]


@pytest.mark.slow  # two hundred jobs, about half a second each
@pytest.mark.timeout(900)
def test_200_corrupted_networks_fail_and_the_worker_lives_on(
    server: Any, worker: Any, make_job: Any, slim_net: Any
) -> None:
    rng = random.Random(0)
    whole = slim_net.onnx()
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 30)):
            data[rng.randrange(min(len(data), 400))] = rng.randrange(256)
        server.add(make_job(server.shelf, candidate=bytes(data[: rng.randint(100, len(data))])))
    worker.start(server.url, "--max-failures", "1000")
    for _ in range(200):
        kind, _, body = server.events.get(timeout=120)
        if kind == "failure":
            assert Failure.from_json(body).failure_class != "internal", body
    server.add(make_job(server.shelf))
    server.wait("result")
    assert worker.end() == 0
