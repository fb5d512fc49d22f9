"""What device hosts call (docs/protocol.md), and the list of devices.

Depends on: fastapi, stillhouse_benchmark.protocol.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, cast

from fastapi import Body, Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator

from stillhouse_benchmark.protocol import (
    PROTOCOL_HEADER,
    PROTOCOL_VERSION,
    CheckResult,
    Device,
    Failure,
    Result,
)
from stillhouse_benchmark.wire import Fields
from stillhouse_service import leases, raw_times, schemas, views
from stillhouse_service.errors import UpgradeRequired
from stillhouse_service.lease_desk import Asking, LeaseDesk
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import (
    Artifacts,
    ServerSettings,
    View,
    Work,
    problems,
)
from stillhouse_service.routes.router import Router
from stillhouse_service.waiting_hosts import WaitingHosts

_MAX_WAIT_S = 60.0


async def speaks_protocol(
    version: Annotated[str, Header(alias=PROTOCOL_HEADER, description="protocol version")],
) -> None:
    """Take this protocol version and the one before.

    Raises:
        UpgradeRequired: The host speaks another.
    """
    accepted = [str(n) for n in (PROTOCOL_VERSION, PROTOCOL_VERSION - 1) if n > 0]
    if version not in accepted:
        raise UpgradeRequired(
            f"this server speaks protocol {' and '.join(accepted)}, the device host speaks "
            f"{version}: bring both to one version, on the host with "
            "`pip install --upgrade stillhouse-benchmark`"
        )


router = Router(tags=["device hosts"])
host_router = Router(
    tags=["device hosts"],
    dependencies=[Depends(speaks_protocol)],
    responses=problems(404, 409, 422, 426),
)
Json = Annotated[
    dict[str, Any], AfterValidator(schemas.storable), Body(description="see docs/protocol.md")
]


@router.get("/v1/devices", dependencies=[needs("read", "worker")])
def list_devices(view: View, settings: ServerSettings) -> schemas.Devices:
    """List every device ever offered, and which live."""
    return schemas.Devices(
        items=[
            views.device(device, host, view, settings.device_ttl_s)
            for device, host in view.devices.all_with_hosts()
        ]
    )


@host_router.post("/v1/workers", status_code=201, dependencies=[needs("worker")])
def register_worker(body: Json, work: Work, settings: ServerSettings) -> JSONResponse:
    """Register a device host and its devices."""
    get = Fields(body)
    devices = get.each("devices", Device.from_json)
    known = leases.register(work, get.text("name"), get.text("version"), devices, settings)
    return JSONResponse(known.to_json(), status_code=201)


@host_router.post(
    "/v1/leases",
    responses={204: {"description": "no job within `wait_s`"}},
    dependencies=[needs("worker")],
)
async def lease(request: Request, body: Json) -> Response:
    """Wait for a job for a device; holds no thread and no transaction while it waits."""
    get = Fields(body)
    worker_id, device_id = get.text("worker_id"), get.text("device_id")
    deadline = time.monotonic() + min(get.number("wait_s", 0.0), _MAX_WAIT_S)
    desk = cast(LeaseDesk, request.app.state.lease_desk)
    hosts = cast(WaitingHosts, request.app.state.waiting_hosts)
    if await request.is_disconnected() or request.app.state.is_stopping.is_set():
        return Response(status_code=204)
    heard = hosts.heard()
    given = await desk.ask(Asking(worker_id, device_id, is_new=True))
    while given.lease is None:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not await hosts.wait(given.serves, left_s, heard):
            return Response(status_code=204)
        # A host that has hung up would never learn of the lease; the job is another's.
        if await request.is_disconnected() or request.app.state.is_stopping.is_set():
            hosts.ring()
            return Response(status_code=204)
        heard = hosts.heard()
        given = await desk.ask(Asking(worker_id, device_id, is_new=False))
    return JSONResponse(given.lease.to_json())


@host_router.post("/v1/leases/{lease_id}/heartbeat", dependencies=[needs("worker")])
def heartbeat(lease_id: str, body: Json, work: Work, settings: ServerSettings) -> dict[str, Any]:
    """Keep a lease, and learn whether the job is still wanted."""
    get = Fields(body)
    progress: dict[str, Any] = {}
    if get.has("progress"):
        now = get.child("progress")
        progress = {"stage": now.text("stage"), "fraction": now.number("fraction", 0.0, 1.0)}
    expires_in_s, is_cancelled = leases.heartbeat(
        work, lease_id, get.text("token"), progress, settings
    )
    return {"expires_in_s": expires_in_s, "is_cancelled": is_cancelled}


@host_router.post("/v1/leases/{lease_id}/result", status_code=204, dependencies=[needs("worker")])
def report_result(lease_id: str, body: Json, work: Work, artifacts: Artifacts) -> None:
    """Report what was measured; reporting it again is harmless."""
    get = Fields(body)
    measured = Result.from_json(get.get("result"), "result")
    token = get.text("token")
    leases.result(work, lease_id, token, raw_times.keep(work, artifacts, measured))


@host_router.post("/v1/leases/{lease_id}/check", status_code=204, dependencies=[needs("worker")])
def report_check(lease_id: str, body: Json, work: Work) -> None:
    """Report what a compiler said of a check's networks; reporting it again is harmless."""
    get = Fields(body)
    said = CheckResult.from_json(get.get("check"), "check")
    leases.checked(work, lease_id, get.text("token"), said)


@host_router.post("/v1/leases/{lease_id}/failure", status_code=204, dependencies=[needs("worker")])
def report_failure(lease_id: str, body: Json, work: Work, settings: ServerSettings) -> None:
    """Report why a job failed."""
    get = Fields(body)
    failure = Failure.from_json(get.get("failure"), "failure")
    leases.failure(work, lease_id, get.text("token"), failure, settings)


@host_router.post("/v1/leases/{lease_id}/release", status_code=204, dependencies=[needs("worker")])
def release(lease_id: str, body: Json, work: Work) -> None:
    """Hand a job back unfinished."""
    leases.release(work, lease_id, Fields(body).text("token"))
