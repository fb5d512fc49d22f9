"""A folder of files named by content hash, filled from the server, with a size limit.

Depends on: the standard library. Files that are used are touched; the longest untouched go first.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import http.client
import os
from pathlib import Path
from typing import IO, Callable, Iterator, Protocol, Sequence

from stillhouse_benchmark.errors import CacheError, ServerUnreachable, WrongContent
from stillhouse_benchmark.protocol import File

CHUNK_BYTES = 1024 * 1024


class Source(Protocol):
    """Where files come from; ``client.Client`` is one."""

    def artifact(self, sha256: str, offset: int = 0) -> tuple[IO[bytes], int]:
        """Open a file at ``offset``; returns the stream and where it really starts."""


class Cache:
    """Files by content hash below one folder.

    Args:
        folder: Created if need be; may be shared by several workers of one host.
        limit_bytes: Files beyond this total are dropped, oldest use first, except those of the
            job at hand.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._files = folder / "files"
        self._partial = folder / "partial"
        self._limit_bytes = limit_bytes
        try:
            self._files.mkdir(parents=True, exist_ok=True)
            self._partial.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(f"cannot use cache folder {folder}: {error}") from error

    def path(self, sha256: str) -> Path:
        """Where a file lies, or would."""
        return self._files / sha256

    def fetch(
        self,
        file: File,
        source: Source,
        keep: Sequence[File] = (),
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> Path:
        """Get a file, from disk or from the server, and check that it is the announced one.

        Args:
            file: What is wanted.
            source: Asked when the file is not here; resumes an interrupted download.
            keep: Files that must not be dropped to make room.
            is_stopped: Asked between chunks.

        Returns:
            The file's path; its content has the announced hash.

        Raises:
            CacheError: wrong content from the server (``WrongContent``), or a full disk: trying
                again is no use.
            ServerError: from ``source``, or broken off, or stopped; what came so far is kept for
                the next try.
        """
        path = self.path(file.sha256)
        if self._is_intact(path, file):
            with contextlib.suppress(OSError):
                os.utime(str(path))
            return path
        self._make_room(file.bytes, keep=(*keep, file))
        with self._claim(file) as partial:
            if self._is_intact(path, file):  # another process was faster
                return path
            self._download(partial, file, source, is_stopped)
            found = sha256_of(partial)
            if found != file.sha256:
                partial.unlink()
                raise WrongContent(
                    f"artifact {file.sha256} arrived with hash {found}: "
                    "the server sent something else than it announced"
                )
            os.replace(str(partial), str(path))
        return path

    def size_bytes(self) -> int:
        """Bytes of all finished files."""
        return sum(stat.st_size for _, stat in self._entries())

    def _is_intact(self, path: Path, file: File) -> bool:
        """Whether the cached file is whole; a damaged one is dropped."""
        try:
            if path.stat().st_size == file.bytes and sha256_of(path) == file.sha256:
                return True
            path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise CacheError(f"cannot read {path}: {error}") from error
        return False

    @contextlib.contextmanager
    def _claim(self, file: File) -> Iterator[Path]:
        """The partial file, held against other processes that want the same one."""
        # One lock per first byte of the hash: lock files are never removed, so they must be few.
        with open(str(self._partial / f"lock-{file.sha256[:2]}"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._partial / file.sha256

    def _download(
        self, partial: Path, file: File, source: Source, is_stopped: Callable[[], bool]
    ) -> None:
        have = partial.stat().st_size if partial.exists() else 0
        if have > file.bytes:
            partial.unlink()
            have = 0
        if have == file.bytes and partial.exists():
            return
        stream, starts_at = source.artifact(file.sha256, have)
        try:
            with stream, open(str(partial), "r+b" if have else "wb") as out:
                out.seek(starts_at)
                out.truncate()
                at = starts_at
                while at < file.bytes and not is_stopped():
                    chunk = stream.read(min(CHUNK_BYTES, file.bytes - at))
                    if not chunk:
                        break
                    out.write(chunk)
                    at += len(chunk)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                with contextlib.suppress(OSError):
                    partial.unlink()
                raise CacheError(
                    f"the disk of {partial.parent} is full: {file.bytes} bytes of "
                    f"{file.sha256} do not fit; free some space or give another --cache-dir"
                ) from error
            raise ServerUnreachable(f"download of {file.sha256} broke off: {error}") from error
        except http.client.HTTPException as error:
            raise ServerUnreachable(f"download of {file.sha256} broke off: {error}") from error
        if at < file.bytes:
            raise ServerUnreachable(
                f"download of {file.sha256} broke off after {at} of {file.bytes} bytes"
            )

    def _entries(self) -> list[tuple[Path, os.stat_result]]:
        entries = []
        for path in self._files.iterdir():
            with contextlib.suppress(OSError):
                entries.append((path, path.stat()))
        return entries

    def _make_room(self, wanted_bytes: int, keep: Sequence[File]) -> None:
        kept = {file.sha256 for file in keep}
        entries = self._entries()
        total = sum(stat.st_size for _, stat in entries) + wanted_bytes
        for path, stat in sorted(entries, key=lambda entry: entry[1].st_mtime):
            if total <= self._limit_bytes:
                return
            if path.name not in kept:
                with contextlib.suppress(OSError):
                    path.unlink()
                total -= stat.st_size


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(str(path), "rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest()
