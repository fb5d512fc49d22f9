"""What others notice of a thousand clients that wait at one server.

Depends on: httpx, psutil, sqlalchemy.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]  # ships no types
from record import Cell
from sqlalchemy import Engine, text
from suites.fleet_places import (
    LEASE_REQUEST,
    N_READS,
    QUICK,
    Filled,
    Replica,
    Table,
    databases,
    device_of,
    servers_of,
)

from stillhouse_service import attempts
from stillhouse_service.states import StudyState

N_WAITING = 100 if QUICK else 1000


def waiting(folder: Path) -> dict[str, Table]:
    """What others notice of a thousand clients that wait at one server."""
    rows: list[list[Cell]] = []
    for database, url, _ in databases(folder):
        filled = Filled(url, folder / database)
        study = filled.study()
        filled.jobs(50)
        with filled.store.begin() as work:  # nothing for the hosts that wait
            for stage in work.stages.waiting("device", work.now, 1000):
                attempts.cancel(work, stage, "bench", "nobody measures")
            work.move(work.studies.named(study), StudyState.PAUSED, "bench")
        with servers_of(url, folder / database, 1) as (server,):
            rows += asyncio.run(_wait(database, server, filled, study))
        filled.engine.dispose()
    columns = (
        "database",
        "who waits",
        "meanwhile",
        "n",
        "p50, ms",
        "p95, ms",
        "wanted below, ms",
        "server's threads",
        "database connections",
        "server's CPU, s a second",
    )
    return {"waiting": (columns, rows)}


async def _wait(database: str, server: Replica, filled: Filled, study: str) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    process = psutil.Process(server.pid)
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        etag = (await http.get(f"/v1/studies/{study}")).headers["etag"]
        device = await _register(http)

        async def measure(who: str, meanwhile: str, change_s: float | None) -> None:
            stop = asyncio.Event()
            changing = asyncio.create_task(_change(filled, study, change_s, stop))
            cpu_s, begun_s = sum(process.cpu_times()[:2]), time.perf_counter()
            times = []
            for i in range(N_READS // 2):
                before_s = time.perf_counter()
                if i % 3:
                    answer = await http.get(f"/v1/studies/{study}")
                else:
                    answer = await http.post("/v1/leases", json={**device, "wait_s": 0})
                assert answer.status_code in (200, 204), answer.text
                times.append((time.perf_counter() - before_s) * 1e3)
                await asyncio.sleep(0.01)
            elapsed_s = time.perf_counter() - begun_s
            used = (sum(process.cpu_times()[:2]) - cpu_s) / elapsed_s
            stop.set()
            await changing
            ranked = sorted(times)
            p50, p95 = statistics.median(ranked), ranked[int(0.95 * (len(ranked) - 1))]
            n_connections = _n_connections(filled.engine)
            row: list[Cell] = [database, who, meanwhile, len(times), p50, p95, 50]
            rows.append([*row, process.num_threads(), n_connections, used])

        await measure("nobody", "nothing happens", None)
        n = N_WAITING // 4
        async with _Crowd(server.url) as crowd:
            await crowd.poll(f"/v1/studies/{study}?wait=60", etag, n)
            await crowd.listen(f"/v1/studies/{study}/events/stream", n)
            await crowd.lease(2 * n)
            await asyncio.sleep(2.0)
            who = f"{n} polls, {n} streams, {2 * n} hosts"
            await measure(who, "nothing happens", None)
            await measure(who, "their study changes 5 times a second", 0.2)
    return rows


async def _register(http: httpx.AsyncClient) -> dict[str, str]:
    body = {"name": "other", "version": "1", "devices": [device_of("OTHER", "other")]}
    http.headers["Stillhouse-Protocol"] = "1"
    known = (await http.post("/v1/workers", json=body)).json()
    return {"worker_id": known["id"], "device_id": known["devices"][0]["id"]}


async def _change(filled: Filled, study: str, every_s: float | None, stop: asyncio.Event) -> None:
    """Write something about a study again and again, as another process."""

    def write() -> None:
        with filled.store.begin() as work:
            row = work.studies.named(study)
            row.name = "a" if row.name != "a" else "b"
            work.note(row, "bench", kind="priority")

    while every_s is not None and not stop.is_set():
        await asyncio.to_thread(write)
        await asyncio.sleep(every_s)


class _Crowd:
    """Clients that wait, on plain sockets: they cost this process next to nothing."""

    def __init__(self, url: str) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._url = url
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> _Crowd:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def poll(self, path: str, etag: str, n: int) -> None:
        """Ask for another answer than the one known, again and again."""
        await self._join(
            n, f"GET {path} HTTP/1.1\r\nHost: x\r\nIf-None-Match: {{etag}}\r\n\r\n", etag
        )

    async def listen(self, path: str, n: int) -> None:
        """Listen to a stream."""
        await self._join(n, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n", "")

    async def lease(self, n: int) -> None:
        """Ask for jobs, for so many devices."""
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as http:
            http.headers["Stillhouse-Protocol"] = "1"
            devices = [device_of("CPU", "waiting") | {"name": f"CPU.{i}"} for i in range(n)]
            body = {"name": "waiting", "version": "1", "devices": devices}
            known = (await http.post("/v1/workers", json=body)).raise_for_status().json()
        for device in known["devices"]:
            ids = {"worker_id": known["id"], "device_id": device["id"]}
            asked = json.dumps({**ids, "wait_s": 60})
            await self._join(1, LEASE_REQUEST.format(n=len(asked), body=asked), "")

    async def _join(self, n: int, request: str, etag: str) -> None:
        for _ in range(n):
            streams = await asyncio.open_connection(self._host, self._port)
            self._tasks.append(asyncio.create_task(_stay(*streams, request, etag)))


async def _stay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: str, etag: str
) -> None:
    try:
        while True:
            writer.write(request.replace("{etag}", etag).encode())
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
            if "transfer-encoding" in fields:
                while await reader.read(65536):
                    pass
                return
            await reader.readexactly(int(fields.get("content-length", 0)))
            etag = fields.get("etag", etag)
    finally:
        writer.close()


def _n_connections(engine: Engine) -> int | None:
    if engine.dialect.name == "sqlite":
        return None
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stillhouse'"
    with engine.connect() as connection:
        n = int(connection.execute(text(query)).scalar_one())
    pool: Any = engine.pool
    n_own: int = pool.checkedin() + 1  # this bench's
    return n - n_own
