"""What the service refuses, and how a refusal reads over HTTP (RFC 9457).

Depends on: fastapi, stillhouse_benchmark for what its messages refuse.

    ServiceError ── NotFound 404, Conflict 409, LeaseLost 409, IllegalTransition 409,
                    SpecRejected 422, UpgradeRequired 426,
                    SchemaMismatch, ArtifactCorrupt, ComputeUnavailable 503
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from stillhouse_benchmark.errors import ProtocolError

_log = logging.getLogger(__name__)
PROBLEM_JSON = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input, and where.

    Attributes:
        path: Dotted path into what was sent, `template.pruners.stage1.weights[0]`.
        message: What is wrong and what was wanted.
    """

    path: str
    message: str


class ServiceError(Exception):
    """Root of everything the service raises on purpose."""

    status = 500
    slug = "internal"
    title = "Internal error"

    @property
    def extensions(self) -> Mapping[str, Any]:
        """Members added to the problem document."""
        return {}


class NotFound(ServiceError):
    """There is no such thing."""

    status, slug, title = 404, "not-found", "Not found"


class Conflict(ServiceError):
    """The thing is not in a state that allows this."""

    status, slug, title = 409, "conflict", "Conflict"


class LeaseLost(ServiceError):
    """The lease ran out, was taken back, or somebody else has finished."""

    status, slug, title = 409, "lease-lost", "Lease lost"


class IllegalTransition(ServiceError):
    """The state machine does not allow this step."""

    status, slug, title = 409, "illegal-transition", "Not possible in this state"


class SpecRejected(ServiceError):
    """What was sent cannot work; every reason is listed."""

    status, slug, title = 422, "spec-rejected", "Specification rejected"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.path}: {p.message}" for p in self.problems))

    @property
    def extensions(self) -> Mapping[str, Any]:
        """The problems, each with its path."""
        return {"problems": [asdict(problem) for problem in self.problems]}


class UpgradeRequired(ServiceError):
    """The device host speaks a protocol this server does not."""

    status, slug, title = 426, "upgrade-required", "Upgrade required"


class SchemaMismatch(ServiceError):
    """The database was written by another version of Stillhouse."""

    slug, title = "schema-mismatch", "Database of another version"


class ArtifactCorrupt(ServiceError):
    """Stored bytes do not have the hash they are stored under."""

    slug, title = "artifact-corrupt", "Artifact corrupt"


class ComputeUnavailable(ServiceError):
    """The compute cluster cannot be used."""

    status, slug, title = 503, "compute-unavailable", "Compute unavailable"


def _problem(
    request: Request, status: int, slug: str, title: str, detail: str, extra: Mapping[str, Any]
) -> JSONResponse:
    body = {
        "type": f"/problems/{slug}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        **extra,
    }
    return JSONResponse(jsonable_encoder(body), status_code=status, media_type=PROBLEM_JSON)


def _dotted(location: Sequence[int | str]) -> str:
    """Turn pydantic's location into a path without the leading `body`."""
    path = ""
    for part in location[1:] if location and location[0] in ("body", "query", "path") else location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".")


def install_handlers(app: FastAPI) -> None:
    """Make every error of `app` an `application/problem+json` answer without a stack trace."""

    @app.exception_handler(ServiceError)
    def on_service_error(request: Request, error: ServiceError) -> JSONResponse:
        if error.status >= 500:
            _log.error("%s %s: %s", request.method, request.url.path, error)
        return _problem(
            request, error.status, error.slug, error.title, str(error), error.extensions
        )

    @app.exception_handler(ProtocolError)
    def on_broken_message(request: Request, error: ProtocolError) -> JSONResponse:
        message = str(error).removeprefix(f"{error.field}: ")
        refused = SpecRejected([Problem(error.field, message)])
        return _problem(
            request, 422, "invalid-request", "Invalid request", str(error), refused.extensions
        )

    @app.exception_handler(RequestValidationError)
    def on_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [Problem(_dotted(e["loc"]), str(e["msg"])) for e in error.errors()]
        refused = SpecRejected(problems)
        return _problem(
            request, 422, "invalid-request", "Invalid request", str(refused), refused.extensions
        )

    @app.exception_handler(HTTPException)
    def on_http_error(request: Request, error: HTTPException) -> JSONResponse:
        slug = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http")
        answer = _problem(
            request, error.status_code, slug, str(error.detail), str(error.detail), {}
        )
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    def on_crash(request: Request, error: Exception) -> JSONResponse:
        _log.exception("%s %s", request.method, request.url.path, exc_info=error)
        detail = "the server failed on this request; its log has the reason"
        return _problem(request, 500, "internal", "Internal error", detail, {})
