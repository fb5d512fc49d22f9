"""Locks between processes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from stillhouse_benchmark.errors import LockError
from stillhouse_benchmark.lock import DeviceLock, busy_host, lock_folder, quiet_host


def test_timing_waits_for_the_running_minibatch_and_holds_off_the_next(tmp_path: Path) -> None:
    events: list[str] = []
    in_batch, go_on = threading.Event(), threading.Event()

    def train() -> None:
        with busy_host(tmp_path):
            in_batch.set()
            go_on.wait(10)
            events.append("first batch ends")
        with busy_host(tmp_path):
            events.append("second batch")

    def time_it() -> None:
        with quiet_host(tmp_path):
            events.append("timing")
            time.sleep(0.3)
            events.append("timing ends")

    trainer, timer = threading.Thread(target=train), threading.Thread(target=time_it)
    trainer.start()
    assert in_batch.wait(10)
    timer.start()
    time.sleep(0.3)  # the timer now stands in the turnstile
    go_on.set()
    trainer.join(10)
    timer.join(10)
    assert events == ["first batch ends", "timing", "timing ends", "second batch"]


def test_two_trainers_run_side_by_side(tmp_path: Path) -> None:
    with busy_host(tmp_path), busy_host(tmp_path):
        pass


def test_a_device_has_one_owner_until_it_lets_go(tmp_path: Path) -> None:
    first, second = DeviceLock(tmp_path, "GPU.0"), DeviceLock(tmp_path, "GPU.0")
    first.take()
    with pytest.raises(LockError, match="in use by another"):
        second.take()
    first.release()
    second.take()
    second.release()


def test_different_devices_do_not_meet(tmp_path: Path) -> None:
    locks = [DeviceLock(tmp_path, "GPU.0"), DeviceLock(tmp_path, "GPU.1")]
    for lock in locks:
        lock.take()
    for lock in locks:
        lock.release()


def test_the_folder_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLHOUSE_LOCK_DIR", str(tmp_path / "locks"))
    assert lock_folder() == tmp_path / "locks"
    assert lock_folder(str(tmp_path)) == tmp_path
