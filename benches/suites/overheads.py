"""What the service adds to a trial, beside compression and timing.

Depends on: httpx, uvicorn, the service.
"""

from __future__ import annotations

import importlib
import multiprocessing
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import uvicorn
from sqlalchemy import event
from suites.filled_database import Filled
from suites.overhead_host import measure

from stillhouse_service.app import build_app
from stillhouse_service.settings import Settings
from stillhouse_service.store import Store
from stillhouse_service.tables import StageRow


@contextmanager
def own_server(url: str, folder: Path) -> Iterator[tuple[httpx.Client, Store]]:
    """A server in a thread of this process, and its store."""
    settings = Settings(database_url=url, artifact_dir=folder / "artifacts", compute="none")
    app = build_app(settings)
    sys.setswitchinterval(0.001)  # as `server.serve` does
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.02)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60
        ) as http:
            yield http, app.state.store
        server.should_exit = True
        thread.join(timeout=30)


def overheads(http: httpx.Client, filled: Filled, n: int) -> list[list[Any]]:
    """What the service adds to a trial, beside compression and timing."""
    study = filled.run(n + 1)
    told, proposed, offered = [], [], []
    compute_waits = _hear_of_compute(filled.store)
    processes = multiprocessing.get_context("spawn")
    ours, hosts = processes.Pipe()
    host = processes.Process(target=measure, args=(str(http.base_url), n, hosts))
    with _timed_proposals() as asked:
        host.start()
        _heard(ours)
        for _ in range(n):
            report = _heard(ours)
            told.append((report.told_s - report.begun_s) * 1e3)
            while not compute_waits.wait(1.0) and not filled.is_waiting():
                pass
            compute_waits.clear()
            proposed.append((time.perf_counter() - report.told_s) * 1e3)
            filled.compute()
            computed_s = time.perf_counter()
            offered.append((_heard(ours) - computed_s) * 1e3)
        host.join(timeout=60)
    http.post(f"/v1/studies/{study}/cancel").raise_for_status()  # its last job is nobody's
    parts = zip(told, proposed, offered, asked, strict=True)
    whole = [a + b + c - asked_ms for a, b, c, asked_ms in parts]
    return [
        ["report -> told", *summary(told), None],
        ["told -> next trial's first stage", *summary(proposed), None],
        ["of that, the optimizer's proposal", *summary(asked), None],
        ["compressed -> job in the host's hand", *summary(offered), None],
        ["all but the proposal", *summary(whole), 100],
    ]


def _hear_of_compute(store: Store) -> threading.Event:
    """Give an event that is set when a stage for compute has been committed.

    Asking the database for it all the time would take the server's time.
    """
    is_added, is_committed = threading.Event(), threading.Event()

    def on_insert(_mapper: object, _connection: object, stage: StageRow) -> None:
        if stage.lane == "compute":
            is_added.set()

    def on_commit(_: object) -> None:
        if is_added.is_set():
            is_added.clear()
            is_committed.set()

    event.listen(StageRow, "after_insert", on_insert)
    store.on_commit(on_commit)
    return is_committed


@contextmanager
def _timed_proposals() -> Iterator[list[float]]:
    """Note the processor's time, in milliseconds, that the optimizer takes for each proposal.

    What the driver waits for while it proposes, because others want the interpreter, is the
    service's time and no part of it.
    """
    asked: list[float] = []
    optimizer = importlib.import_module("stillhouse_optimizer.propose")
    asks = optimizer.propose

    def noted(*given: Any, **more: Any) -> Any:
        begun_s = time.thread_time()
        proposals = asks(*given, **more)
        asked.append((time.thread_time() - begun_s) * 1e3)
        return proposals

    with mock.patch.object(optimizer, "propose", noted):
        yield asked


def _heard(pipe: Connection) -> Any:
    """Wait for what the host has to say, as long as it may wait for the server."""
    if not pipe.poll(130):
        raise SystemExit("the device host has ended, or waits in vain")
    return pipe.recv()


def timed(act: Callable[[], Any]) -> float:
    """Do something; give the milliseconds it took."""
    begun_s = time.perf_counter()
    act()
    return (time.perf_counter() - begun_s) * 1e3


def summary(times_ms: Sequence[float]) -> list[Any]:
    """Give how many there are, their median and their 95th percentile."""
    ranked = sorted(times_ms)
    return [len(ranked), statistics.median(ranked), ranked[int(0.95 * (len(ranked) - 1))]]
