"""The folder of content-addressed files."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.errors import ArtifactCorrupt, NotFound

# sha256 of b"abc": FIPS 180-2, appendix B.1
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_is_named_by_the_hash_of_its_content(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
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


def test_content_that_is_not_what_was_announced_is_refused(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with pytest.raises(ArtifactCorrupt, match="expected content of hash ba7816bf"):
        store.put(b"abd", expected_sha256=ABC)
    assert not store.has(ABC)


def test_a_file_that_has_changed_on_disk_is_never_given_out(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.put(b"abc")
    store.path_of(ABC).write_bytes(b"abd")
    with pytest.raises(ArtifactCorrupt, match=ABC):
        store.read(ABC)


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
