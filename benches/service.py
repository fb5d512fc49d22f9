"""The server with 10,000 trials: pages, summaries, polls; a trial's overhead; a restart.

Depends on: httpx, psutil, the service. Every figure is taken over
real HTTP from a server in a process of its own; the rows of the large study are written directly.
Reads and overheads are taken in three rounds, of which the median is told.

``STILLHOUSE_BENCH_QUICK=1`` takes a tenth of the trials, to see that it runs.
"""

from __future__ import annotations

import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]  # ships no types
from record import Cell, record
from suites.filled_database import Filled, databases
from suites.overheads import overheads, own_server, summary, timed

QUICK = bool(os.environ.get("STILLHOUSE_BENCH_QUICK"))
N_TRIALS = 1000 if QUICK else 10_000
N_STUDIES = 10 if QUICK else 100
N_READS = 50 if QUICK else 300
N_OVERHEAD = 10 if QUICK else 60
N_ROUNDS = 3
_SERVE = (
    "import os; from stillhouse_service.server import serve; "
    "from stillhouse_service.settings import Settings; print('imported', flush=True); "
    "serve(Settings.from_environment(os.environ))"
)


def main() -> None:
    """All figures on both databases; writes ``results/service.json``."""
    reads, added, starts = [], [], []
    with tempfile.TemporaryDirectory() as name:
        for database, url in databases(Path(name)):
            folder = Path(name) / database
            store = Filled(url, folder, N_TRIALS, N_STUDIES)
            big = store.big
            with _server(url, folder) as (_, _, times_s):
                starts.append((database, *times_s))
            with _server(url, folder) as (http, process, times_s):
                starts.append((database, *times_s))
                rounds = [_reads(http, process, big) for _ in range(N_ROUNDS)]
                reads += [[database, *row] for row in _middle(rounds)]
            with own_server(url, folder) as (http, own):
                store.store = own  # so that what compute commits is heard at once, as from a driver
                rounds = [overheads(http, store, N_OVERHEAD) for _ in range(N_ROUNDS)]
                added += [[database, *row] for row in _middle(rounds)]
            store.engine.dispose()
    restart: list[list[Cell]] = [
        [
            name,
            N_STUDIES,
            N_TRIALS,
            statistics.median(ready for d, ready, _ in starts if d == name),
            statistics.median(served for d, _, served in starts if d == name),
            5,
        ]
        for name in dict.fromkeys(start[0] for start in starts)
    ]
    record(
        "service",
        {
            "reads": (
                (
                    "database",
                    "what",
                    "n",
                    "server's CPU, ms",
                    "p50, ms",
                    "p95, ms",
                    "wanted below, ms",
                ),
                reads,
            ),
            "overhead": (
                ("database", "what", "n", "p50, ms", "p95, ms", "wanted below, ms"),
                added,
            ),
            "restart": (
                (
                    "database",
                    "studies",
                    "trials in one of them",
                    "ready, s",
                    "of that, after the imports, s",
                    "wanted below, s",
                ),
                restart,
            ),
        },
        {"n_trials": N_TRIALS, "is_quick": QUICK, "starts": starts},
    )


def _middle(rounds: list[list[list[Any]]]) -> list[list[Any]]:
    """Give the median of several rounds, figure by figure: the machine's speed wanders."""
    return [
        [
            statistics.median(told) if isinstance(told[0], float) else told[0]
            for told in zip(*rows, strict=True)
        ]
        for rows in zip(*rounds, strict=True)
    ]


@contextmanager
def _server(
    url: str, folder: Path
) -> Iterator[tuple[httpx.Client, psutil.Process, tuple[float, float]]]:
    """A server process; gives a client, the process, and seconds until it answered.

    The first is from the process's start, the second from the end of its imports (torch's above
    all), which depends on neither studies nor database.
    """
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    environment = {
        **os.environ,
        "STILLHOUSE_DATABASE_URL": url,
        "STILLHOUSE_ARTIFACT_DIR": str(folder / "artifacts"),
        "STILLHOUSE_COMPUTE": "none",
        "STILLHOUSE_PORT": str(port),
    }
    begun_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE], env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    imported_s = time.perf_counter()
    http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
    while True:
        try:
            http.get("/v1/studies?page_size=1").raise_for_status()
            break
        except httpx.TransportError:
            if process.poll() is not None:
                raise SystemExit("the server has ended") from None
            time.sleep(0.02)
    now_s = time.perf_counter()
    try:
        yield http, psutil.Process(process.pid), (now_s - begun_s, now_s - imported_s)
    finally:
        http.close()
        process.stdout.close()
        process.terminate()
        process.wait(timeout=30)


def _reads(http: httpx.Client, process: psutil.Process, study: str) -> list[list[Any]]:
    path = f"/v1/studies/{study}"
    pages = _tokens(http, path)
    known = {"If-None-Match": http.get(path).headers["etag"]}
    chance = random.Random(1)

    def page() -> None:
        token = chance.choice(pages)
        query = {"page_size": 100} | ({"page_token": token} if token else {})
        answer = http.get(f"{path}/trials", params=query)
        assert len(answer.json()["items"]) == 100

    def study_itself() -> None:
        assert http.get(path).status_code == 200

    def poll() -> None:
        assert http.get(path, headers=known).status_code == 304

    before = process.memory_info().rss

    def served(act: Callable[[], None]) -> list[Any]:
        """Also what of it the server computed, which others on the machine make no longer."""
        for _ in range(10):
            act()
        begun_s = sum(process.cpu_times()[:2])
        n, p50, p95 = summary([timed(act) for _ in range(N_READS)])
        return [n, (sum(process.cpu_times()[:2]) - begun_s) / n * 1e3, p50, p95]

    rows = [
        ["trials page, 100 rows", *served(page), 50],
        ["study summary", *served(study_itself), 30],
        ["status poll, 304", *served(poll), 10],
    ]
    for _ in range(3):
        _tokens(http, path)
    grown = (process.memory_info().rss - before) / 1e6
    rows.append([f"memory grown by reading: {grown:.1f} MB", 4 * N_TRIALS, None, None, None, None])
    return rows


def _tokens(http: httpx.Client, path: str) -> list[str | None]:
    """Walk through all pages; give where each begins."""
    tokens: list[str | None] = [None]
    while True:
        query = {"page_size": 100} | ({"page_token": tokens[-1]} if tokens[-1] else {})
        answer = http.get(f"{path}/trials", params=query).raise_for_status().json()
        if answer["next_page_token"] is None:
            return tokens
        tokens.append(answer["next_page_token"])


if __name__ == "__main__":
    main()
