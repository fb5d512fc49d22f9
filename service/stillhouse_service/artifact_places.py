"""Where the files of the artifact store lie: a folder, or whatever fsspec reaches.

Depends on: fsspec, for URLs alone. Names are relative paths with slashes; knows nothing of hashes.
"""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from stillhouse_service.errors import StoreUnusable

_NEW = ".new-"  # how a file begins that is still being written
_DYING = ".old-"  # how one begins that is being removed
_WRITTEN_AT = ("mtime", "LastModified", "last_modified", "updated", "created")


@dataclass(frozen=True)
class Found:
    """A stored file.

    Attributes:
        name: Relative path.
        n_bytes: Its size.
        written_at: When it was last written or wanted again, seconds since 1970 by the clock of
            whoever keeps it.
    """

    name: str
    n_bytes: int
    written_at: float


class Place(Protocol):
    """Keeps files by name; errors are `OSError`s."""

    address: str

    def write(self, name: str, content: bytes) -> None:
        """Store a file whole or not at all, over an older one of the name."""

    def read(self, name: str) -> bytes:
        """Read a file; raises `FileNotFoundError` where there is none."""

    def renew(self, name: str) -> bool:
        """Make a stored file count as written now; False where there is none."""

    def has(self, name: str) -> bool:
        """Tell whether there is such a file."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def remove_older(self, name: str, than: float) -> bool:
        """Remove a file unless it was written after `than`; tell whether it is gone."""

    def files(self) -> Iterator[Found]:
        """List all files, those that are still being written among them."""


class Folder:
    """A folder: written aside, synced, renamed, so that what has its name is whole."""

    def __init__(self, folder: Path) -> None:
        """Open it, and make it where there is none.

        Raises:
            StoreUnusable: It is a file, or cannot be made.
        """
        self.path = folder.resolve()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnusable(
                f"the artifact store {self.path} cannot be used: {error.strerror}; name a folder "
                "that this user may write (STILLHOUSE_ARTIFACT_DIR)"
            ) from error
        self.address = str(self.path)

    def write(self, name: str, content: bytes) -> None:
        """Store a file whole or not at all."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_NEW, delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
        _sync_folder(path.parent)

    def read(self, name: str) -> bytes:
        """Read a file."""
        return (self.path / name).read_bytes()

    def renew(self, name: str) -> bool:
        """Make a stored file count as written now."""
        try:
            os.utime(self.path / name)
        except FileNotFoundError:
            return False
        return (self.path / name).is_file()

    def has(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return (self.path / name).is_file()

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def remove_older(self, name: str, than: float) -> bool:
        """Remove a file unless it was written after `than`.

        It is put aside before its age is looked at: whoever renews it from then on finds it gone
        and writes it anew.
        """
        path = self.path / name
        aside = path.with_name(f"{_DYING}{path.name}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return True
        if aside.stat().st_mtime > than:
            aside.rename(path)
            return False
        aside.unlink()
        return True

    def files(self) -> Iterator[Found]:
        """List all files."""
        for path in self.path.glob("*/*"):
            try:
                about = path.stat()
            except FileNotFoundError:
                continue  # finished or removed meanwhile
            if not stat.S_ISREG(about.st_mode):
                continue
            name = path.relative_to(self.path).as_posix()
            yield Found(name, about.st_size, about.st_mtime)


class Remote:
    """A store that fsspec reaches by URL: `s3://bucket/prefix`, `gs://...`, `memory://...`.

    An object of such a store is whole or not there. Credentials come from the environment of
    whoever opens it, as fsspec and its drivers have it.
    """

    def __init__(self, url: str) -> None:
        # On use: who keeps a folder does not pay for it.
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # ships no types

        try:
            self._files, root = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise StoreUnusable(f"the artifact store {url} cannot be opened: {error}") from error
        self._root = str(root).rstrip("/")
        self.address = url

    def write(self, name: str, content: bytes) -> None:
        """Store an object."""
        path = self._path(name)
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(path, content)

    def read(self, name: str) -> bytes:
        """Read an object."""
        content: bytes = self._files.cat_file(self._path(name))
        return content

    def renew(self, name: str) -> bool:
        """Say no, so that it is written again: an object's age cannot be changed otherwise."""
        return False

    def has(self, name: str) -> bool:
        """Tell whether there is such an object."""
        return bool(self._files.isfile(self._path(name)))

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        try:
            self._files.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def remove_older(self, name: str, than: float) -> bool:
        """Remove an object unless it was written after `than`, as far as a look can tell."""
        try:
            about = self._files.info(self._path(name))
        except FileNotFoundError:
            return True
        if _written_at(about) > than:
            return False
        self.remove(name)
        return True

    def files(self) -> Iterator[Found]:
        """List all objects."""
        for path, about in self._files.find(self._root, detail=True).items():
            name = str(path)[len(self._root) :].lstrip("/")
            yield Found(name, int(about["size"]), _written_at(about))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def place_of(address: str | Path) -> Folder | Remote:
    """Open the folder or URL that an operator named.

    Raises:
        StoreUnusable: No driver for the URL is installed, it is malformed, or no folder.
    """
    text = str(address)
    if "://" not in text:
        return Folder(Path(text))
    if text.startswith(("file://", "local://")):
        return Folder(Path(text.partition("://")[2]))
    return Remote(text)


def _written_at(about: Mapping[str, Any]) -> float:
    """Read an object's age; one that does not tell it counts as new."""
    for member in _WRITTEN_AT:
        value = about.get(member)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return time.time()


def _sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
