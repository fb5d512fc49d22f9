"""The networks, data sets and artifacts that a server has.

Depends on: fastapi.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from stillhouse_service import catalog, schemas
from stillhouse_service.errors import NotFound
from stillhouse_service.routes.access import needs
from stillhouse_service.routes.context import Artifacts, View, problems
from stillhouse_service.routes.router import Router

router = Router()


@router.get("/v1/models", tags=["catalogue"], dependencies=[needs("read")])
def list_models() -> schemas.Models:
    """List the networks that can be trained and compressed."""
    return catalog.list_models()


@router.get("/v1/datasets", tags=["catalogue"], dependencies=[needs("read")])
def list_datasets() -> schemas.Datasets:
    """List the data sets."""
    return catalog.list_datasets()


@router.get(
    "/v1/artifacts/{sha256}",
    tags=["artifacts"],
    response_class=FileResponse,
    responses=problems(404) | {206: {"description": "the range asked for"}},
    dependencies=[needs("read", "worker")],
)
def read_artifact(sha256: str, view: View, artifacts: Artifacts) -> FileResponse:
    """Get a file by its content's hash; `Range` is honoured."""
    row = view.log.artifact(sha256)
    if row is None:
        raise NotFound(f"no artifact {sha256}")
    headers = {"ETag": f'"{sha256}"', "Cache-Control": "public, max-age=31536000, immutable"}
    path = artifacts.checked_path(sha256)
    if path is not None:
        return FileResponse(path, media_type=row.media_type, headers=headers)
    # Behind a URL: a copy of this answer's own, so that ranges of it can be sent.
    with tempfile.NamedTemporaryFile(prefix="stillhouse-", delete=False) as copy:
        copied = Path(copy.name)
        copy.write(artifacts.read(sha256))
    remove = BackgroundTask(copied.unlink)
    return FileResponse(copied, media_type=row.media_type, headers=headers, background=remove)
