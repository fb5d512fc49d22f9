"""Files named by the hash of their content, in a folder or behind any URL that fsspec knows.

Depends on: artifact_places. Used by the server and, on the same store, by compute tasks; knows no
database.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from stillhouse_service.artifact_places import Folder, Place, place_of
from stillhouse_service.errors import (
    ArtifactCorrupt,
    ArtifactTooLarge,
    ComputeUnavailable,
    NotFound,
)

_SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_BYTES = 2**31  # as an ONNX file


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
    """Content-addressed files; writing the same bytes twice is writing them once.

    Args:
        where: A folder, or a URL such as `s3://bucket/prefix`.
        max_bytes: Largest content that is taken.

    Attributes:
        place: Where the files lie.
        max_bytes: As given.

    Raises:
        StoreUnusable: The URL cannot be opened.
    """

    def __init__(self, where: Path | str, max_bytes: int = MAX_BYTES) -> None:
        self.place: Place = place_of(where)
        self.max_bytes = max_bytes
        self._checked: dict[str, tuple[int, int]] = {}  # hash -> size and time of what was hashed
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """The folder or URL, as compute workers open it."""
        return self.place.address

    def check_room(self, min_free_bytes: int) -> None:
        """Make sure that there is room in a folder before somebody works for hours.

        Raises:
            ComputeUnavailable: Its disk has less than `min_free_bytes` left.
        """
        if isinstance(self.place, Folder):
            free = shutil.disk_usage(self.place.path).free
            if free < min_free_bytes:
                raise ComputeUnavailable(
                    f"the artifact store {self.address} has only {free / 1e6:.1f} MB left, at "
                    f"least {min_free_bytes / 1e6:.1f} MB are wanted: make room "
                    "(`stillhouse artifacts gc` removes what nothing needs)"
                )

    def path_of(self, sha256: str) -> Path:
        """Say where a file of this hash lies in a folder, whether or not it is there.

        Raises:
            NotFound: `sha256` is no hash, or the store is no folder.
        """
        name = name_of(sha256)
        if not isinstance(self.place, Folder):
            raise NotFound(f"{self.address} is no folder")
        return self.place.path / name

    def has(self, sha256: str) -> bool:
        """Tell whether the file is stored."""
        return self.place.has(name_of(sha256))

    def put(
        self,
        content: bytes,
        media_type: str = "application/octet-stream",
        expected_sha256: str | None = None,
    ) -> Artifact:
        """Store bytes.

        Raises:
            ArtifactTooLarge: They are more than the store takes.
            ArtifactCorrupt: The content's hash is not `expected_sha256`.
            OSError: The store is full, or gone; nothing is half stored.
        """
        if len(content) > self.max_bytes:
            raise ArtifactTooLarge(
                f"an artifact of {len(content)} bytes is too large, the limit is {self.max_bytes}: "
                "raise STILLHOUSE_MAX_ARTIFACT_BYTES"
            )
        sha256 = hashlib.sha256(content).hexdigest()
        if expected_sha256 is not None and sha256 != expected_sha256:
            raise ArtifactCorrupt(f"expected content of hash {expected_sha256}, got {sha256}")
        if not self.place.renew(name_of(sha256)):
            self.place.write(name_of(sha256), content)
        return Artifact(sha256, len(content), media_type)

    def read(self, sha256: str) -> bytes:
        """Read a file whole.

        Raises:
            NotFound: There is none of this hash.
            ArtifactCorrupt: Its bytes have changed since they were written.
        """
        try:
            content = self.place.read(name_of(sha256))
        except FileNotFoundError:
            raise NotFound(f"no artifact {sha256}") from None
        _check(sha256, hashlib.sha256(content).hexdigest())
        return content

    def checked_path(self, sha256: str) -> Path | None:
        """Find a sound file in a folder; hashed once, and again when it has changed since.

        Returns:
            Its path; none: the store is no folder.

        Raises:
            NotFound: There is none of this hash.
            ArtifactCorrupt: Its bytes have changed since they were written.
        """
        name = name_of(sha256)
        if not isinstance(self.place, Folder):
            return None
        path = self.place.path / name
        try:
            about = path.stat()
            looks = about.st_size, about.st_mtime_ns
            with self._lock:
                if self._checked.get(sha256) == looks:
                    return path
            with path.open("rb") as file:
                _check(sha256, hashlib.file_digest(file, "sha256").hexdigest())
        except FileNotFoundError:
            raise NotFound(f"no artifact {sha256}") from None
        with self._lock:
            self._checked[sha256] = looks
        return path


def name_of(sha256: str) -> str:
    """Say under which name the file of a hash is kept.

    Raises:
        NotFound: `sha256` is no hash.
    """
    if not _SHA256.fullmatch(sha256):
        raise NotFound(f"no artifact {sha256!r}: its name is 64 lower-case hexadecimal digits")
    return f"{sha256[:2]}/{sha256}"


def hash_of(name: str) -> str | None:
    """Read the hash off the name of a kept file; none: it is no artifact."""
    sha256 = name.rpartition("/")[2]
    return sha256 if _SHA256.fullmatch(sha256) and name == name_of(sha256) else None


def _check(sha256: str, found: str) -> None:
    if found != sha256:
        raise ArtifactCorrupt(
            f"artifact {sha256} is damaged, its bytes now have the hash {found}: put it back "
            "from a backup"
        )
