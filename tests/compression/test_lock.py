"""The host lock: minibatches wait for timing, timing waits for the minibatch, nobody starves."""

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from stillhouse_compression.errors import Cancelled
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.lock import HostLock, default_folder


def _time_exclusively(folder: Path, holds: threading.Event, may_release: threading.Event) -> None:
    """The timing side of docs/architecture.md; flock tells open files apart, not processes."""
    turnstile = os.open(folder / "turnstile", os.O_RDWR | os.O_CREAT)
    host = os.open(folder / "host", os.O_RDWR | os.O_CREAT)
    fcntl.flock(turnstile, fcntl.LOCK_EX)
    fcntl.flock(host, fcntl.LOCK_EX)
    holds.set()
    may_release.wait(20)
    fcntl.flock(host, fcntl.LOCK_UN)
    fcntl.flock(turnstile, fcntl.LOCK_UN)
    os.close(host)
    os.close(turnstile)


def test_a_minibatch_waits_while_timing_runs(tmp_path: Path) -> None:
    holds, may_release = threading.Event(), threading.Event()
    timing = threading.Thread(target=_time_exclusively, args=(tmp_path, holds, may_release))
    timing.start()
    assert holds.wait(20)
    entered = threading.Event()

    def train() -> None:
        with HostLock(tmp_path) as lock, lock.minibatch():
            entered.set()

    trainer = threading.Thread(target=train)
    trainer.start()
    assert not entered.wait(0.3)
    may_release.set()
    assert entered.wait(20)
    trainer.join()
    timing.join()


def test_timing_waits_for_the_running_minibatch_only(tmp_path: Path) -> None:
    holds, may_release = threading.Event(), threading.Event()
    may_release.set()
    with HostLock(tmp_path) as lock:
        with lock.minibatch():
            timing = threading.Thread(target=_time_exclusively, args=(tmp_path, holds, may_release))
            timing.start()
            assert not holds.wait(0.3)
        assert holds.wait(20)
        timing.join()


def test_a_busy_trainer_does_not_starve_timing(tmp_path: Path) -> None:
    """Two trainers overlap without a gap; timing must get in all the same."""
    stop = threading.Event()

    def train() -> None:
        with HostLock(tmp_path) as lock:
            while not stop.is_set():
                with lock.minibatch():
                    time.sleep(0.01)

    trainers = [threading.Thread(target=train) for _ in range(2)]
    holds, may_release = threading.Event(), threading.Event()
    may_release.set()
    timing = threading.Thread(target=_time_exclusively, args=(tmp_path, holds, may_release))
    timing.start()
    for trainer in trainers:
        trainer.start()
    assert holds.wait(20)
    stop.set()
    for thread in trainers:
        thread.join()
    timing.join()


def test_the_folder_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLHOUSE_LOCK_DIR", str(tmp_path / "x"))
    assert default_folder() == tmp_path / "x"
    monkeypatch.delenv("STILLHOUSE_LOCK_DIR")
    assert default_folder().name == f"stillhouse-lock-{os.getuid()}"


def test_cancellation_is_asked_before_every_minibatch() -> None:
    answers = iter([False, True])
    hooks = Hooks(is_cancelled=lambda: next(answers))
    with hooks.minibatch():
        pass
    with pytest.raises(Cancelled):
        hooks.minibatch()
