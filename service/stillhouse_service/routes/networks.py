"""One network of the server, layer by layer.

Depends on: fastapi.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from stillhouse_service import networks
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import problems
from stillhouse_service.routes.router import Router
from stillhouse_service.schemas.networks import Network

router = Router()


@router.get(
    "/v1/models/{name}",
    tags=["catalogue"],
    responses=problems(404),
    dependencies=[needs("read")],
)
def read_model(
    name: str, n_classes: Annotated[int | None, Query(ge=2, le=1_000_000)] = None
) -> Network:
    """Show a network's depth, parameters, multiply-accumulates and layers."""
    return networks.describe_network(name, n_classes)
