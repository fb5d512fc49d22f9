"""How many jobs a second hosts are handed, and how many they are handed and report.

Depends on: httpx, psutil, the simulation.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]  # ships no types
from record import Cell
from suites.fleet_places import (
    LEASE_REQUEST,
    QUICK,
    Filled,
    Table,
    databases,
    device_of,
    servers_of,
)

from stillhouse_service import attempts
from stillhouse_service.simulation.fleet import Fleet, simulated_hosts
from stillhouse_service.simulation.law import Law

N_HOSTS = 20 if QUICK else 200
N_BURSTS = 3 if QUICK else 5
_SECONDS = 3.0 if QUICK else 8.0
_JOBS = 200 if QUICK else 800  # before each measurement


def leases(folder: Path) -> dict[str, Table]:
    """How many jobs a second hosts are handed, and how many they are handed and report."""
    rows: list[list[Cell]] = []
    bursts: list[list[Cell]] = []
    for database, url, wanted in databases(folder):
        filled = Filled(url, folder / database)
        for n_servers in (1, 2) if database == "Postgres" else (1,):
            filled.jobs(_JOBS)
            with servers_of(url, folder / database, n_servers) as servers:
                rates = asyncio.run(_bursts([one.url for one in servers], filled))
                middle, worst = statistics.median(rates), min(rates)
                bursts.append([database, n_servers, N_HOSTS, len(rates), middle, worst, wanted])
                processes = [psutil.Process(one.pid) for one in servers]
                begun = [sum(process.cpu_times()[:2]) for process in processes]
                urls = [one.url for one in servers]
                n, n_twice, n_told, elapsed_s, wait_ms = asyncio.run(_load(urls, N_HOSTS))
                used_s = sum(
                    sum(process.cpu_times()[:2]) - before
                    for process, before in zip(processes, begun, strict=True)
                )
            rows.append(
                [
                    database,
                    n_servers,
                    N_HOSTS,
                    n,
                    n / elapsed_s,
                    n_twice,
                    n_told,
                    1e3 * used_s / max(1, n),
                    wait_ms,
                ]
            )
        filled.engine.dispose()
    columns = (
        "database",
        "servers",
        "hosts",
        "jobs leased and reported",
        "a second",
        "handed out twice",
        "results taken",
        "servers' CPU a job, ms",
        "report p95, ms",
    )
    handed = ("database", "servers", "hosts", "times", "leases a second", "least", "wanted")
    return {"leases": (handed, bursts), "jobs": (columns, rows)}


async def _bursts(urls: Sequence[str], filled: Filled) -> list[float]:
    """All hosts ask at once, and each gets a job; leases a second of each time."""
    bodies = []
    async with httpx.AsyncClient(base_url=urls[0], timeout=60) as http:
        http.headers["Stillhouse-Protocol"] = "1"
        for i in range(N_HOSTS):
            body = {"name": f"burst-{i}", "version": "1", "devices": [device_of("CPU", str(i))]}
            known = (await http.post("/v1/workers", json=body)).raise_for_status().json()
            ids = {"worker_id": known["id"], "device_id": known["devices"][0]["id"]}
            bodies.append(json.dumps({**ids, "wait_s": 30}))
    rates = []
    for _ in range(N_BURSTS):
        streams = []  # new ones: a server closes those that rest for seconds
        for i in range(N_HOSTS):
            host, _, port = urls[i % len(urls)].removeprefix("http://").partition(":")
            streams.append(await asyncio.open_connection(host, int(port)))
        begun_s = time.perf_counter()
        given = await asyncio.gather(
            *(
                _lease(reader, writer, body)
                for (reader, writer), body in zip(streams, bodies, strict=True)
            )
        )
        rates.append(len(given) / (time.perf_counter() - begun_s))
        jobs = [lease["job"]["id"] for lease in given]
        assert len(set(jobs)) == N_HOSTS, "a job was handed out twice"
        with filled.store.begin() as work:  # for the next time, which is not measured
            for lease in given:
                attempts.release(work, work.stages.attempt(lease["id"]), "bench")
        for _, writer in streams:
            writer.close()
    return rates


async def _lease(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: str
) -> dict[str, Any]:
    writer.write(LEASE_REQUEST.format(n=len(body), body=body).encode())
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    assert head.startswith("http/1.1 200"), head
    n = next(int(line[16:]) for line in head.splitlines() if line.startswith("content-length: "))
    found: dict[str, Any] = json.loads(await reader.readexactly(n))
    return found


async def _load(urls: Sequence[str], n_hosts: int) -> tuple[int, int, int, float, float]:
    async with simulated_hosts(Fleet(n_hosts), Law(), urls) as tally:
        while not tally.leased_at:
            await asyncio.sleep(0.01)
        begun_s = time.perf_counter()
        n_before = len(tally.leased_at)
        deadline = begun_s + _SECONDS
        while time.perf_counter() < deadline:
            await asyncio.sleep(0.05)
        elapsed_s = time.perf_counter() - begun_s
        n = len(tally.leased_at) - n_before
        last_s = max(tally.leased_at)
        if last_s < deadline - 1.0:  # all were given out before the end
            elapsed_s = last_s - begun_s
        ranked = sorted(tally.wait_ms) or [0.0]
        p95 = ranked[int(0.95 * (len(ranked) - 1))]
        return n, tally.n_twice, tally.n_told, elapsed_s, p95
