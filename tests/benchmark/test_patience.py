"""A server that is gone for ten minutes, a stick that is pulled out: waited for, not for ever."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from stillhouse_benchmark.errors import ServerUnreachable
from stillhouse_benchmark.protocol import Failure, Result
from stillhouse_benchmark.session import Backoff, until_reached
from stillhouse_benchmark.worker import comes_back

MakeJob = Callable[..., Dict[str, Any]]


class Clock:
    """Ten minutes pass in no time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits: list[float] = []

    def wait(self, wait_s: float) -> bool:
        self.now_s += wait_s
        self.waits.append(wait_s)
        return False


def test_a_result_is_delivered_after_ten_minutes_without_a_server() -> None:
    clock = Clock()
    delivered_at: list[float] = []

    def deliver() -> None:
        if clock.now_s < 600.0:
            raise ServerUnreachable("connection refused")
        delivered_at.append(clock.now_s)

    until_reached(deliver, Backoff(clock.wait, random.Random(0)), "result")
    # Waits double from half a second to half a minute, each some 30 % up or down: the server is
    # neither hammered nor found late.
    assert 600.0 <= delivered_at[0] <= 600.0 + 39.0
    assert len(clock.waits) < 40
    assert all(0.35 <= wait_s <= 39.0 for wait_s in clock.waits)


def test_who_is_told_to_stop_meanwhile_stops_waiting() -> None:
    stop = threading.Event()
    n_tries = 0

    def deliver() -> None:
        nonlocal n_tries
        n_tries += 1
        stop.set()
        raise ServerUnreachable("connection refused")

    assert until_reached(deliver, Backoff(stop.wait), "result") is None
    assert n_tries == 1


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_a_stick_pulled_out_in_mid_job_fails_that_job_and_comes_back_when_plugged_in(
    server: Any, worker: Any, make_job: MakeJob, tmp_path: Path, until: Any
) -> None:
    plug = tmp_path / "plugged-in"
    worker.extra_environment = {"STILLHOUSE_TEST_PLUG": str(plug)}
    plug.touch()
    server.add(make_job(server.shelf))
    worker.start(
        server.url, "--runtime", "bad_devices:unplugged", "--max-failures", "1",
        "--reset-command", f"touch {plug}",
    )  # fmt: skip
    failure = Failure.from_json(server.wait("failure"))
    assert failure.failure_class == "device-fault"
    assert "X_LINK_ERROR" in failure.reason
    # The reset command plugs it in again; the self-test passes; the next job is done.
    server.add(make_job(server.shelf))
    assert Result.from_json(server.wait("result")).host.runtime == "unplugged"
    assert "passed its self-test" in worker.log.read_text()


@pytest.mark.parametrize(
    ("is_pulled", "told"), [(True, "gone, back"), (False, "in vain for: pull")]
)
def test_the_acceptance_run_waits_for_the_hand_that_pulls_the_stick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_pulled: bool, told: str
) -> None:
    plug = tmp_path / "plugged-in"
    plug.touch()
    (tmp_path / "pulled-once").touch()  # this device goes when told, not in mid-run
    monkeypatch.setenv("STILLHOUSE_TEST_PLUG", str(plug))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    seconds = iter(range(0, 1000, 50))

    def clock() -> float:
        now_s = next(seconds)
        if is_pulled and now_s == 50:
            plug.unlink()
        if now_s == 150:
            plug.touch()
        return float(now_s)

    found = comes_back("bad_devices:unplugged", "CPU", clock=clock)
    assert found["is_met"] is is_pulled
    assert told in str(found["found"])
