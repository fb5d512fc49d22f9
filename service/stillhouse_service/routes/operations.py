"""Long work over HTTP.

Depends on: fastapi.
"""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import Depends, Request, Response
from fastapi.responses import JSONResponse

from stillhouse_service import schemas, views
from stillhouse_service.operations import Operation, Operations
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import WAITS, problems
from stillhouse_service.routes.router import Router

router = Router(prefix="/v1/operations", tags=["operations"])
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": schemas.Operation, "description": "it takes a while: ask the operation"}
}


def operations_of(request: Request) -> Operations:
    """The app's operations."""
    return cast(Operations, request.app.state.operations)


Long = Annotated[Operations, Depends(operations_of)]


def accepted(operation: Operation) -> JSONResponse:
    """Answer that something has been begun, and where to ask after it."""
    shown = views.operation(operation).model_dump(mode="json")
    headers = {"Location": f"/v1/operations/{operation.id}", "Retry-After": "1"}
    return JSONResponse(shown, status_code=202, headers=headers)


@router.get("/{operation_id}", responses=problems(404), dependencies=[needs("read"), WAITS])
def show_operation(operation_id: str, operations: Long) -> schemas.Operation:
    """Show how far long work is."""
    return views.operation(operations.named(operation_id))


@router.get(
    "/{operation_id}/result",
    response_class=Response,
    responses=problems(404, 409)
    | {200: {"content": {"application/json": {}, "text/csv": {}, "text/html": {}}}},
    dependencies=[needs("read")],
)
def show_result(operation_id: str, operations: Long) -> Response:
    """Give what long work has made."""
    content, media_type = operations.result(operation_id)
    return Response(content, media_type=media_type)
