"""Files named by the hash of their content, in a folder.

Depends on: the standard library. Used by the server and, on the same folder, by compute tasks;
knows no database.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from stillhouse_service.errors import ArtifactCorrupt, NotFound

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Artifact:
    """A stored file.

    Attributes:
        sha256: Lower-case hexadecimal hash of the content, its name.
        n_bytes: Its size.
        media_type: What it is, `application/octet-stream` when nobody said.
    """

    sha256: str
    n_bytes: int
    media_type: str = "application/octet-stream"


class ArtifactStore:
    """A folder of content-addressed files; writing the same bytes twice is writing them once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)

    def path_of(self, sha256: str) -> Path:
        """Say where a file of this hash lies, whether or not it is there.

        Raises:
            NotFound: `sha256` is no hash.
        """
        if not _SHA256.fullmatch(sha256):
            raise NotFound(f"no artifact {sha256!r}: its name is 64 lower-case hexadecimal digits")
        return self.folder / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Tell whether the file is stored."""
        return self.path_of(sha256).is_file()

    def put(
        self,
        content: bytes,
        media_type: str = "application/octet-stream",
        expected_sha256: str | None = None,
    ) -> Artifact:
        """Store bytes: written aside, synced, renamed, so that a file under its name is whole.

        Raises:
            ArtifactCorrupt: The content's hash is not `expected_sha256`.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        if expected_sha256 is not None and sha256 != expected_sha256:
            raise ArtifactCorrupt(f"expected content of hash {expected_sha256}, got {sha256}")
        path = self.path_of(sha256)
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
                try:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                    Path(file.name).replace(path)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            _sync_folder(path.parent)
        return Artifact(sha256, len(content), media_type)

    def read(self, sha256: str) -> bytes:
        """Read a file whole.

        Raises:
            NotFound: There is none of this hash.
            ArtifactCorrupt: Its bytes have changed since they were written.
        """
        try:
            content = self.path_of(sha256).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"no artifact {sha256}") from None
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise ArtifactCorrupt(f"the file of artifact {sha256} now has the hash {found}")
        return content


def _sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
