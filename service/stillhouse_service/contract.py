"""The OpenAPI document, with what every route may answer besides its own.

Depends on: fastapi. Refusals are `application/problem+json` everywhere; a route names the ones that
are special to it, those of every route are added here.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from stillhouse_service.problem_documents import PROBLEM_JSON

_EVERYWHERE = (400, 401, 403, 413, 422, 429, 500, 503)
_PROBLEM = {"$ref": "#/components/schemas/ProblemDetail"}
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")


def install_contract(app: FastAPI) -> None:
    """Have `app` describe itself truly, refusals included."""
    drawn = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(drawn())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answers: dict[str, Any] = operation["responses"]
            for status in (*_EVERYWHERE, *((404,) if "{" in path else ())):
                answers.setdefault(str(status), {})
            if method == "get" and path.startswith("/v1/"):
                answers["304"] = {"description": "it is as `If-None-Match` knows it"}
            for status, answer in answers.items():
                if int(status) >= 400:
                    answer["description"] = HTTPStatus(int(status)).phrase
                    answer["content"] = {PROBLEM_JSON: {"schema": _PROBLEM}}
            operation["responses"] = dict(sorted(answers.items()))
    for name in _FASTAPIS_OWN:
        document["components"]["schemas"].pop(name, None)
    return document
