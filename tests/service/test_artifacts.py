"""Content-addressed files, in a folder and behind a URL."""

import os
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_service.artifact_places import Remote, place_of
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.errors import (
    ArtifactCorrupt,
    ArtifactTooLarge,
    ComputeUnavailable,
    NotFound,
    StoreUnusable,
)

# sha256 of b"abc": FIPS 180-2, appendix B.1
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture(params=["folder", "url"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A folder, and a store behind fsspec: in memory, or under the URL of STILLHOUSE_TEST_STORE."""
    url = os.environ.get("STILLHOUSE_TEST_STORE", "memory:/")
    where = tmp_path if request.param == "folder" else f"{url}/{tmp_path.name}-{time.time_ns()}"
    return ArtifactStore(where, max_bytes=200_000)


def test_a_file_is_named_by_the_hash_of_its_content(store: ArtifactStore) -> None:
    assert store.put(b"abc").sha256 == ABC
    assert store.read(ABC) == b"abc"
    assert store.has(ABC)


@given(content=st.binary(max_size=5000))
def test_what_was_put_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    store = ArtifactStore(tmp_path_factory.getbasetemp() / "artifacts")
    stored = store.put(content)
    assert stored.n_bytes == len(content)
    assert store.read(stored.sha256) == content
    assert store.put(content) == stored


def test_content_that_is_not_what_was_announced_is_refused(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactCorrupt, match="expected content of hash ba7816bf"):
        store.put(b"abd", expected_sha256=ABC)
    assert not store.has(ABC)


def test_a_file_that_has_changed_is_never_given_out(store: ArtifactStore) -> None:
    store.put(b"abc")
    store.place.write(f"ba/{ABC}", b"abd")
    with pytest.raises(ArtifactCorrupt, match=ABC):
        store.read(ABC)


def test_a_checked_file_is_looked_at_again_once_it_has_changed(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.put(b"abc")
    path = store.checked_path(ABC)
    assert path is not None and path.read_bytes() == b"abc"
    path.write_bytes(b"abd")
    with pytest.raises(ArtifactCorrupt, match=ABC):
        store.checked_path(ABC)
    path.unlink()
    with pytest.raises(NotFound):
        store.checked_path(ABC)


def test_content_larger_than_the_limit_is_refused_and_the_limit_named(
    store: ArtifactStore,
) -> None:
    with pytest.raises(ArtifactTooLarge, match=r"200001 bytes .* 200000.*MAX_ARTIFACT_BYTES"):
        store.put(bytes(200_001))
    assert list(store.place.files()) == []
    assert store.put(bytes(200_000)).n_bytes == 200_000


def test_what_is_not_there_is_not_found(store: ArtifactStore) -> None:
    assert not store.has(ABC)
    with pytest.raises(NotFound, match=ABC):
        store.read(ABC)
    store.place.remove(f"ba/{ABC}")  # again and again: nothing happens


def test_files_are_listed_with_size_and_age_and_removed_by_age(store: ArtifactStore) -> None:
    store.put(b"abc")
    (found,) = store.place.files()
    assert (found.name, found.n_bytes) == (f"ba/{ABC}", 3)
    assert abs(found.written_at - time.time()) < 60
    assert not store.place.remove_older(found.name, time.time() - 3600)
    assert store.has(ABC)
    assert store.place.remove_older(found.name, time.time() + 3600)
    assert not store.has(ABC)


def test_a_file_put_again_counts_as_new(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.put(b"abc")
    os.utime(store.path_of(ABC), (1.0, 1.0))
    store.put(b"abc")
    assert abs(store.path_of(ABC).stat().st_mtime - time.time()) < 60


@pytest.mark.parametrize("url", ["s3://bucket/x", "gs://bucket/x", "nonsense://x"])
def test_a_url_without_its_driver_is_refused_and_named(url: str) -> None:
    if url.startswith("s3") and find_spec("s3fs"):
        pytest.skip("s3fs is here")
    with pytest.raises(StoreUnusable, match=url):
        ArtifactStore(url)


def test_a_url_of_a_file_is_a_folder(tmp_path: Path) -> None:
    assert ArtifactStore(f"file://{tmp_path}").address == str(tmp_path.resolve())
    assert isinstance(place_of("memory://x"), Remote)


def test_a_disk_with_too_little_room_is_named(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.check_room(0)
    with pytest.raises(ComputeUnavailable, match=str(tmp_path)):
        store.check_room(2**60)


@pytest.mark.parametrize("name", ["", "abc", "../../etc/passwd", ABC.upper(), ABC + "0", "g" * 64])
def test_what_is_no_hash_names_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        ArtifactStore(tmp_path).path_of(name)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    (tmp_path / "ba").mkdir()
    (tmp_path / "ba" / ABC).mkdir()  # the rename onto a folder cannot work
    with pytest.raises(OSError):
        store.put(b"abc")
    assert [path.name for path in (tmp_path / "ba").iterdir()] == [ABC]


def test_many_writers_of_one_content_make_one_whole_file(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    content = os.urandom(100_000)
    threads = [threading.Thread(target=store.put, args=(content,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = store.put(content)
    assert store.read(stored.sha256) == content
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
