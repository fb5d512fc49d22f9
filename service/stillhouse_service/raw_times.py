"""Every single time of a device job, kept as an artifact.

Depends on: the artifact store, stillhouse_benchmark.protocol.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace

from stillhouse_benchmark.protocol import ProtocolError, Result
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.store import UnitOfWork
from stillhouse_service.tables import ArtifactRow

MEDIA_TYPE = "application/x-npz"


def keep(work: UnitOfWork, artifacts: ArtifactStore, measured: Result) -> Result:
    """Store a result's raw times; give the result with the artifact's hash in their place.

    Raises:
        ProtocolError: They are no base64.
    """
    if not measured.raw_times:
        return measured
    try:
        content = base64.b64decode(measured.raw_times, validate=True)
    except binascii.Error as error:
        raise ProtocolError("result.raw_times", f"must be base64: {error}") from error
    stored = artifacts.put(content, MEDIA_TYPE)
    row = ArtifactRow(
        sha256=stored.sha256,
        n_bytes=stored.n_bytes,
        media_type=MEDIA_TYPE,
        created_at=work.now,
    )
    work.log.add_artifacts([row])
    return replace(measured, raw_times=stored.sha256)
