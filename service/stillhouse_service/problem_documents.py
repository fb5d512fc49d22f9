"""How a refusal reads over HTTP: `application/problem+json` (RFC 9457), never a stack trace.

Depends on: fastapi, sqlalchemy and stillhouse_benchmark for what its messages refuse.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from starlette.exceptions import HTTPException

from stillhouse_benchmark.errors import ProtocolError
from stillhouse_service.errors import Problem, ServiceError, SpecRejected

_log = logging.getLogger(__name__)
PROBLEM_JSON = "application/problem+json"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


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
        answer = _problem(
            request, error.status, error.slug, error.title, str(error), error.extensions
        )
        if error.status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

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

    @app.exception_handler(DBAPIError)
    def on_database_error(request: Request, error: DBAPIError) -> JSONResponse:
        is_passing = isinstance(error, OperationalError | InterfaceError)
        if not (is_passing or error.connection_invalidated):
            return on_crash(request, error)
        _log.error("%s %s: %s", request.method, request.url.path, error.orig)
        is_full = "full" in str(error.orig).lower() or "no space" in str(error.orig).lower()
        why = "its disk is full: make room" if is_full else "try again"
        detail = f"the database cannot be used at the moment; {why}"
        answer = _problem(request, 503, "database-unavailable", "Database unavailable", detail, {})
        answer.headers["Retry-After"] = "2"
        return answer

    @app.exception_handler(OSError)
    def on_full_disk(request: Request, error: OSError) -> JSONResponse:
        if error.errno not in _NO_ROOM:
            return on_crash(request, error)
        _log.error("%s %s: %s", request.method, request.url.path, error)
        detail = f"the artifact store cannot be written: {error.strerror}; make room"
        answer = _problem(
            request, 503, "store-unavailable", "Artifact store unavailable", detail, {}
        )
        answer.headers["Retry-After"] = "30"
        return answer

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
