"""The disk cache: whole files only, resumed downloads, a size limit."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path
from typing import IO

import pytest

from stillhouse_benchmark.cache import Cache
from stillhouse_benchmark.errors import CacheError, ServerUnreachable, WrongContent
from stillhouse_benchmark.protocol import File


class Source:
    """Serves files from memory; may cut one short or break the disk."""

    def __init__(self, *contents: bytes) -> None:
        self.contents = {hashlib.sha256(data).hexdigest(): data for data in contents}
        self.offsets: list[int] = []
        self.cut_at: int | None = None
        self.honours_range = True

    def artifact(self, sha256: str, offset: int = 0) -> tuple[IO[bytes], int]:
        self.offsets.append(offset)
        first = offset if self.honours_range else 0
        data = self.contents[sha256][: self.cut_at]
        self.cut_at = None
        return io.BytesIO(data[first:]), first


class FullDisk(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")


def file_of(data: bytes) -> File:
    return File(hashlib.sha256(data).hexdigest(), len(data))


def test_a_file_is_fetched_once(tmp_path: Path) -> None:
    source = Source(b"hello")
    cache = Cache(tmp_path, 1000)
    assert cache.fetch(file_of(b"hello"), source).read_bytes() == b"hello"
    assert cache.fetch(file_of(b"hello"), source).read_bytes() == b"hello"
    assert source.offsets == [0]


@pytest.mark.parametrize("honours_range", [True, False])
def test_a_download_goes_on_where_it_broke_off(tmp_path: Path, honours_range: bool) -> None:
    data = bytes(range(256)) * 10
    source = Source(data)
    source.cut_at = 700
    source.honours_range = honours_range
    cache = Cache(tmp_path, 10_000)
    with pytest.raises(ServerUnreachable, match="after 700 of 2560"):
        cache.fetch(file_of(data), source)
    assert cache.fetch(file_of(data), source).read_bytes() == data
    assert source.offsets == [0, 700]


def test_wrong_content_is_refused_and_not_kept(tmp_path: Path) -> None:
    source = Source(b"right")
    file = file_of(b"right")
    source.contents[file.sha256] = b"wrong"
    cache = Cache(tmp_path, 1000)
    with pytest.raises(WrongContent, match="something else"):
        cache.fetch(file, source)
    assert cache.size_bytes() == 0
    source.contents[file.sha256] = b"right"
    assert cache.fetch(file, source).read_bytes() == b"right"


def test_a_file_damaged_on_disk_is_fetched_again(tmp_path: Path) -> None:
    source = Source(b"hello")
    cache = Cache(tmp_path, 1000)
    cache.fetch(file_of(b"hello"), source).write_bytes(b"hellp")
    assert cache.fetch(file_of(b"hello"), source).read_bytes() == b"hello"


def test_the_longest_unused_file_goes_first(tmp_path: Path) -> None:
    contents = [bytes([n]) * 400 for n in range(3)]
    source = Source(*contents)
    cache = Cache(tmp_path, 1000)
    for age, data in ((100, contents[0]), (50, contents[1])):
        path = cache.fetch(file_of(data), source)
        os.utime(path, (path.stat().st_atime - age, path.stat().st_mtime - age))
    cache.fetch(file_of(contents[0]), source)  # used again: the second is the oldest now
    cache.fetch(file_of(contents[2]), source)
    kept = [cache.path(file_of(data).sha256).exists() for data in contents]
    assert kept == [True, False, True]


def test_files_of_the_job_at_hand_are_never_dropped(tmp_path: Path) -> None:
    contents = [bytes([n]) * 400 for n in range(4)]
    source = Source(*contents)
    cache = Cache(tmp_path, 1000)
    files = [file_of(data) for data in contents]
    for file in files:
        cache.fetch(file, source, keep=files)
    assert all(cache.path(file.sha256).exists() for file in files)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    class Full(Source):
        def artifact(self, sha256: str, offset: int = 0) -> tuple[IO[bytes], int]:
            return FullDisk(), 0

    with pytest.raises(CacheError, match="is full"):
        Cache(tmp_path, 1000).fetch(file_of(b"hello"), Full())
    assert not (tmp_path / "partial" / file_of(b"hello").sha256).exists()
