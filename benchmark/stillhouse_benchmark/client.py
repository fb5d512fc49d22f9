"""The host's side of docs/protocol.md over HTTP.

Depends on: the standard library. Every call either returns, or raises a ``ServerError`` that says
what to do about it; nothing here retries.
"""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from typing import IO, Any, Mapping, Sequence

from stillhouse_benchmark.errors import (
    LeaseLost,
    ProtocolError,
    ServerError,
    ServerUnreachable,
    UnknownWorker,
    UpgradeRequired,
)
from stillhouse_benchmark.protocol import (
    PROTOCOL_HEADER,
    PROTOCOL_VERSION,
    CheckResult,
    Device,
    Failure,
    Lease,
    Registered,
    Result,
)
from stillhouse_benchmark.wire import Fields

MAX_ANSWER_BYTES = 16 * 1024 * 1024


class Client:
    """Talks to one server.

    Args:
        url: The server's root, ``http://host:port`` or ``https://…``.
        token: Sent as ``Authorization: Bearer``, if any.
        timeout_s: Limit of one call, the wait of a long poll left out.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 30.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise ServerError(f"the server's URL must start with http:// or https://, got {url!r}")
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {
            PROTOCOL_HEADER: str(PROTOCOL_VERSION),
            "Accept": "application/json",
            "User-Agent": "stillhouse-worker",
        }
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def register(self, name: str, version: str, devices: Sequence[Device]) -> Registered:
        """Announce this host; the same name keeps its ids."""
        body = {"name": name, "version": version, "devices": [d.to_json() for d in devices]}
        return Registered.from_json(self._post("/v1/workers", body))

    def lease(self, worker_id: str, device_id: str, wait_s: float) -> Lease | None:
        """Ask for a job, waiting up to ``wait_s`` seconds for one.

        Raises:
            UnknownWorker: register again.
            ProtocolError: the job is not to be read; the server was told so.
        """
        body = {"worker_id": worker_id, "device_id": device_id, "wait_s": wait_s}
        answer = self._post("/v1/leases", body, wait_s=wait_s, unknown=UnknownWorker)
        if answer is None:
            return None
        try:
            return Lease.from_json(answer)
        except ProtocolError as error:
            self._refuse(answer, error)
            raise

    def _refuse(self, answer: object, error: ProtocolError) -> None:
        """Fail a job that we cannot read, so that it is not handed out again and again."""
        get = Fields(answer, "lease")
        failure = Failure("internal", "lease", f"this host cannot read the job: {error}")
        body = {"token": get.text("token"), "failure": failure.to_json()}
        self._post(f"/v1/leases/{get.text('id')}/failure", body, unknown=LeaseLost)

    def heartbeat(self, lease: Lease, stage: str, fraction: float) -> bool:
        """Keep a lease alive.

        Returns:
            Whether the job was cancelled.

        Raises:
            LeaseLost: the lease is somebody else's by now.
        """
        body = {"token": lease.token, "progress": {"stage": stage, "fraction": fraction}}
        answer = self._post(f"/v1/leases/{lease.id}/heartbeat", body, unknown=LeaseLost)
        return Fields(answer, "heartbeat").flag("is_cancelled")

    def result(self, lease: Lease, result: Result) -> None:
        """Deliver a result.

        Raises:
            LeaseLost: somebody else finished the job.
        """
        body = {"token": lease.token, "result": result.to_json()}
        self._post(f"/v1/leases/{lease.id}/result", body, unknown=LeaseLost)

    def checked(self, lease: Lease, checked: CheckResult) -> None:
        """Deliver what a compiler said.

        Raises:
            LeaseLost: somebody else finished the job.
        """
        body = {"token": lease.token, "check": checked.to_json()}
        self._post(f"/v1/leases/{lease.id}/check", body, unknown=LeaseLost)

    def failure(self, lease: Lease, failure: Failure) -> None:
        """Deliver a failure."""
        body = {"token": lease.token, "failure": failure.to_json()}
        self._post(f"/v1/leases/{lease.id}/failure", body, unknown=LeaseLost)

    def release(self, lease: Lease) -> None:
        """Hand a job back unfinished."""
        self._post(f"/v1/leases/{lease.id}/release", {"token": lease.token}, unknown=LeaseLost)

    def artifact(self, sha256: str, offset: int = 0) -> tuple[IO[bytes], int]:
        """Open an artifact for reading.

        Args:
            sha256: Its name.
            offset: First byte wanted.

        Returns:
            The stream, and the offset it really starts at: 0 where the server ignored ``Range``.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._open("GET", f"/v1/artifacts/{sha256}", None, headers, self._timeout_s)
        starts_at = 0
        if answer.status == 206:
            unit_range = answer.headers.get("Content-Range", "")
            first = unit_range.partition(" ")[2].partition("-")[0]
            if not first.isdigit():
                answer.close()
                raise ServerUnreachable(f"artifact {sha256}: bad Content-Range {unit_range!r}")
            starts_at = int(first)
        return answer, starts_at

    def _post(
        self,
        path: str,
        body: Mapping[str, object],
        wait_s: float = 0.0,
        unknown: type[ServerError] = ServerError,
    ) -> Any:
        data = json.dumps(body, allow_nan=False).encode("utf-8")
        headers = {"Content-Type": "application/json"}
        timeout_s = self._timeout_s + wait_s
        try:
            with self._open("POST", path, data, headers, timeout_s, unknown) as answer:
                text = answer.read(MAX_ANSWER_BYTES)
                status = answer.status
        except (OSError, http.client.HTTPException) as error:
            raise ServerUnreachable(f"{self._url}{path}: {error}") from error
        if status == 204 or not text:
            return None
        try:
            return json.loads(text.decode("utf-8"))
        except ValueError as error:
            raise ProtocolError(path, f"answer is not JSON: {error}") from error

    def _open(
        self,
        method: str,
        path: str,
        data: bytes | None,
        headers: Mapping[str, str],
        timeout_s: float,
        unknown: type[ServerError] = ServerError,
    ) -> Any:
        request = urllib.request.Request(
            self._url + path, data=data, headers={**self._headers, **headers}, method=method
        )
        try:
            return urllib.request.urlopen(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error, f"{method} {self._url}{path}", unknown) from None
        except ssl.SSLError as error:
            raise ServerUnreachable(f"{method} {self._url}{path}: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ServerUnreachable(f"{method} {self._url}{path}: {reason}") from error


def _refusal(error: urllib.error.HTTPError, what: str, unknown: type[ServerError]) -> ServerError:
    """What an HTTP error status means for the worker."""
    status = error.code
    message = f"{what}: {status} {_detail(error)}"
    if status == 404:
        return unknown(message, status)
    if status in (409, 410):
        return LeaseLost(message, status)
    if status == 426:
        return UpgradeRequired(message, status)
    if status in (408, 425, 429) or status >= 500:
        return ServerUnreachable(message, status)
    return ServerError(message, status)


def _detail(error: urllib.error.HTTPError) -> str:
    """The ``detail`` of a problem document, or the first characters of whatever came."""
    try:
        text = error.read(4096).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return str(error.reason)
    try:
        document = json.loads(text)
    except ValueError:
        return text[:200] or str(error.reason)
    detail = document.get("detail") if isinstance(document, dict) else None
    return str(detail or text[:200])
