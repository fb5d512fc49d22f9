"""Made-up device hosts that speak the real protocol (docs/protocol.md), hundreds in one process.

Depends on: httpx, law, results. Each registers, leases, fetches the files of its job, shows life
and reports; some die with a job in their hand, some jobs hang, some networks cannot be run.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from stillhouse_benchmark.protocol import PROTOCOL_HEADER, PROTOCOL_VERSION, Lease
from stillhouse_service.simulation.law import Law
from stillhouse_service.simulation.results import result

_WAIT_S = 20.0
_REST_S = 0.2  # before a server that does not answer is asked again
_LIMIT_S = 120.0
_HANG_S = 1.0  # at least


@dataclass
class Tally:
    """What the hosts of a fleet have seen.

    Attributes:
        leased_at: When each lease was had, seconds of a forward-going clock.
        wait_ms: How long each report took to be taken.
        jobs: How often each job was had.
        open_jobs: Jobs in some host's hand just now.
        n_twice: Jobs handed out while another host had them in its hand, by a lease that held.
        n_told: Results that were taken.
        n_failed: Failures that were told.
        n_crashed: Hosts that died.
        n_hung: Jobs that hung.
        n_refused: Reports that nobody wanted any more.
        n_errors: Requests without an answer.
    """

    leased_at: list[float] = field(default_factory=list)
    wait_ms: list[float] = field(default_factory=list)
    jobs: dict[str, int] = field(default_factory=dict)
    open_jobs: set[str] = field(default_factory=set)
    n_twice: int = 0
    n_told: int = 0
    n_failed: int = 0
    n_crashed: int = 0
    n_hung: int = 0
    n_refused: int = 0
    n_errors: int = 0


class SimulatedHost:
    """One device host with one made-up device."""

    def __init__(
        self,
        http: Sequence[httpx.AsyncClient],
        law: Law,
        tally: Tally,
        name: str,
        kind: str,
        job_s: float,
    ) -> None:
        """Prepare a host.

        Args:
            http: A client of each server of the installation; a host goes to the next one when
                one does not answer.
            law: The world.
            tally: Shared by the fleet.
            name: The host's name; decides its luck too.
            kind: Of its device.
            job_s: How long it measures, seconds.
        """
        self._http, self._law, self._tally, self._job_s = list(http), law, tally, job_s
        self._name, self._kind = name, kind
        self._rng = random.Random(f"{law.seed} {name}")
        self._known: dict[str, dict[str, Any]] = {}  # files, by hash
        self._ids: dict[str, str] = {}
        self._heartbeat_s = 5.0

    async def live(self) -> None:
        """Work until cancelled; whatever does not answer is asked again."""
        while True:
            try:
                if not self._ids:
                    await self._register()
                await self._work()
            except (httpx.HTTPError, OSError):
                self._tally.n_errors += 1
                self._http.append(self._http.pop(0))
                await asyncio.sleep(_REST_S)

    async def _register(self) -> None:
        device = {
            "name": self._kind,
            "kind": self._kind,
            "full_name": "A made-up device",
            "runtime": "simulated",
            "runtime_version": "1",
            "precisions": ["f32"],
            "max_opset": 21,
            "host": self._name,
            "capabilities": ["benchmark", f"compile:{self._kind}"],
        }
        body = {"name": self._name, "version": "simulated", "devices": [device]}
        answer = await self._post("/v1/workers", body)
        answer.raise_for_status()
        known = answer.json()
        self._ids = {"worker_id": known["id"], "device_id": known["devices"][0]["id"]}
        self._heartbeat_s = float(known["heartbeat_s"])

    async def _work(self) -> None:
        answer = await self._post("/v1/leases", {**self._ids, "wait_s": _WAIT_S})
        if answer.status_code == 404:
            self._ids = {}
            return
        if answer.status_code != 200:
            if answer.status_code != 204:
                await asyncio.sleep(_REST_S)
            return
        lease = answer.json()
        Lease.from_json(lease)  # as the real host reads it
        tally, job = self._tally, lease["job"]
        tally.leased_at.append(time.perf_counter())
        tally.jobs[job["id"]] = tally.jobs.get(job["id"], 0) + 1
        tally.n_twice += job["id"] in tally.open_jobs
        if self._rng.random() < self._law.p_crash:
            tally.n_crashed += 1
            self._ids = {}  # started anew, it registers and asks: what it held is handed out again
            return
        tally.open_jobs.add(job["id"])
        beating = asyncio.create_task(self._beat(lease))
        try:
            await self._do(lease, job)
        finally:
            tally.open_jobs.discard(job["id"])
            beating.cancel()

    async def _do(self, lease: dict[str, Any], job: dict[str, Any]) -> None:
        if job["kind"] == "check":
            await self._report(lease, "check", {"check": self._compiled(job)})
            return
        made_up = (await self._fetch(job["candidate"]["sha256"]))["made_up"]
        await self._fetch(job["baseline"]["sha256"])
        if self._rng.random() < self._law.p_hang:
            self._tally.n_hung += 1
            await asyncio.sleep(max(_HANG_S, 10 * self._job_s))
            await self._fail(lease, "timeout", "the job hung until its time limit (made up)")
            return
        await asyncio.sleep(self._job_s)
        if made_up["unsupported"] is not None:
            layer = made_up["unsupported"].removesuffix(".weight")
            await self._fail(lease, "unsupported", f"{layer} is too narrow (made up)", [layer])
            return
        await self._report(lease, "result", {"result": result(self._law, made_up, self._rng)})

    def _compiled(self, job: dict[str, Any]) -> dict[str, Any]:
        supported = {
            "device": job["device"],
            "runtime": "simulated",
            "is_supported": True,
            "failure_class": None,
            "reason": None,
            "layers": [],
            "blob_bytes": None,
            "stages": None,
            "missing_layers": [],
        }
        names = [network["name"] for network in job["networks"]]
        networks = dict.fromkeys(names, supported)
        return {"networks": networks, "runtime_version": "1", "duration_s": 0.1}

    async def _fail(
        self, lease: dict[str, Any], failure_class: str, reason: str, layers: Sequence[str] = ()
    ) -> None:
        failure = {"class": failure_class, "stage": "compile", "reason": reason}
        self._tally.n_failed += 1
        await self._report(lease, "failure", {"failure": {**failure, "layers": list(layers)}})

    async def _report(self, lease: dict[str, Any], verb: str, body: dict[str, Any]) -> None:
        """Report until somebody has heard, as the real host does."""
        deadline = time.perf_counter() + _LIMIT_S
        while time.perf_counter() < deadline:
            begun_s = time.perf_counter()
            path = f"/v1/leases/{lease['id']}/{verb}"
            try:
                answer = await self._post(path, {"token": lease["token"], **body})
            except (httpx.HTTPError, OSError):
                self._tally.n_errors += 1
                self._http.append(self._http.pop(0))
                await asyncio.sleep(_REST_S)
                continue
            if answer.status_code == 204:
                self._tally.wait_ms.append((time.perf_counter() - begun_s) * 1e3)
                self._tally.n_told += verb != "failure"
                return
            if answer.status_code < 500 and answer.status_code != 429:
                self._tally.n_refused += 1
                return
            await asyncio.sleep(_REST_S)

    async def _beat(self, lease: dict[str, Any]) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            body = {"token": lease["token"], "progress": {"stage": "timing", "fraction": 0.5}}
            with suppress(httpx.HTTPError, OSError):
                await self._post(f"/v1/leases/{lease['id']}/heartbeat", body)

    async def _fetch(self, sha256: str) -> dict[str, Any]:
        if sha256 not in self._known:
            answer = await self._http[0].get(f"/v1/artifacts/{sha256}")
            answer.raise_for_status()
            self._known[sha256] = json.loads(answer.content)
        return self._known[sha256]

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return await self._http[0].post(path, json=body)


def client_of(url: str, token: str | None, n_hosts: int) -> httpx.AsyncClient:
    """Make a client that so many hosts share."""
    headers = {PROTOCOL_HEADER: str(PROTOCOL_VERSION)}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    limits = httpx.Limits(max_connections=2 * n_hosts + 10, max_keepalive_connections=n_hosts + 10)
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=60, limits=limits)
