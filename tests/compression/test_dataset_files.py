"""Data sets from the user's disk: exact formats in small, and whatever can be wrong with them."""

import hashlib
import io
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillhouse_compression import datasets
from stillhouse_compression.datasets.cifar import CIFAR10, CIFAR100, CifarArchive, read_cifar
from stillhouse_compression.errors import CompressionError

Batch = dict[Any, Any]


def batch(first: int, n: int, archive: CifarArchive) -> Batch:
    """A batch as the original archives have it: rows of 1024 red, 1024 green, 1024 blue."""
    data = np.zeros((n, 3072), dtype=np.uint8)
    for row in range(n):
        data[row] = np.repeat([first + row, 100, 200], 1024)
    labels = [(first + row) % archive.n_classes for row in range(n)]
    return {"batch_label": "x", archive.label_key: labels, "data": data, "filenames": ["a"] * n}


def write(
    folder: Path,
    archive: CifarArchive,
    change: Callable[[str, Batch], object] = lambda _, content: content,
) -> CifarArchive:
    """Write a small archive in the original format; returns it with its real checksum."""
    path = folder / archive.filename
    first = 0
    with tarfile.open(path, "w:gz") as tar:
        for name in (*archive.train_files, *archive.test_files):
            # Protocol 2, as the original batches have it.
            content = pickle.dumps(change(name, batch(first, 4, archive)), protocol=2)
            entry = tarfile.TarInfo(f"{archive.folder}/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
            first += 4
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return replace(archive, md5=md5, n_train=4 * len(archive.train_files), n_test=4)


@pytest.mark.parametrize("archive", [CIFAR10, CIFAR100], ids=["cifar10", "cifar100"])
def test_an_archive_in_the_original_format_is_read(archive: CifarArchive, tmp_path: Path) -> None:
    pools = read_cifar(write(tmp_path, archive), tmp_path)
    images, labels = pools["train"]
    n = 4 * len(archive.train_files)
    assert images.shape == (n, 3, 32, 32) and images.dtype == np.uint8
    assert images[:, 0, 5, 7].tolist() == list(range(n))  # red: the image's number
    assert set(images[:, 1].ravel()) == {100} and set(images[:, 2].ravel()) == {200}
    assert labels.tolist() == [k % archive.n_classes for k in range(n)]
    assert pools["test"][0][:, 0, 0, 0].tolist() == list(range(n, n + 4))


def test_a_missing_archive_is_named_with_its_source(tmp_path: Path) -> None:
    with pytest.raises(CompressionError, match=r"cifar-10-python\.tar\.gz is not there.*https://"):
        read_cifar(CIFAR10, tmp_path)


def test_another_file_under_the_archives_name_is_refused(tmp_path: Path) -> None:
    write(tmp_path, CIFAR10)
    with pytest.raises(CompressionError, match=f"MD5 is [0-9a-f]{{32}}, wanted {CIFAR10.md5}"):
        read_cifar(CIFAR10, tmp_path)


def test_an_archive_that_ends_early_is_refused(tmp_path: Path) -> None:
    archive = write(tmp_path, CIFAR10)
    path = tmp_path / archive.filename
    path.write_bytes(path.read_bytes()[:-200])
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    with pytest.raises(CompressionError, match=r"cannot be read|does not hold|holds no rows"):
        read_cifar(replace(archive, md5=md5), tmp_path)


class _Harmful:
    """Runs a command where it is unpickled carelessly."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return (os.system, ("touch harmed",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, b: b | {"data": b["data"][:, :3000]}, "no rows of 3072 pixels"),
        (lambda n, b: b | {"data": b["data"].astype(np.int64)}, "no rows of 3072 pixels"),
        (lambda n, b: b | {"labels": b["labels"][:-1]}, "one label in 0..9 for each of 4"),
        (lambda n, b: b | {"labels": [0, 1, 2, 10]}, "one label in 0..9"),
        (lambda n, b: {k: v for k, v in b.items() if k != "labels"}, "one label in 0..9"),
        (lambda n, b: [1, 2], "no rows of 3072 pixels"),
        (lambda n, b: _Harmful(), r"refuses to build (posix|nt)\.system"),
        (lambda n, b: batch(0, 3, CIFAR10) if n == "test_batch" else b, "3 test images, wanted 4"),
    ],
)
def test_an_archive_with_other_contents_is_refused_whole(
    change: Callable[[str, Batch], object],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    archive = write(tmp_path, CIFAR10, change)
    with pytest.raises(CompressionError, match=message):
        read_cifar(archive, tmp_path)
    assert not (tmp_path / "harmed").exists()


def test_cifar_is_listed_only_where_its_archive_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLHOUSE_DATA_DIR", str(tmp_path))
    assert [info.name for info in datasets.available()] == ["digits"]
    write(tmp_path, CIFAR10)
    assert [info.name for info in datasets.available()] == ["digits", "cifar10"]
    assert datasets.dataset_info("cifar100").n_classes == 100
    with pytest.raises(CompressionError, match="is not there"):
        datasets.load("cifar100")


def arrays(n: int, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "images": random.integers(0, 256, (n, 1, 6, 5), dtype=np.uint8),
        "labels": np.arange(n) % 3,
    }


def test_a_file_of_numpys_becomes_three_splits(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", **arrays(40))
    name = f"npz:{tmp_path / 'mine.npz'}"
    info = datasets.dataset_info(name)
    assert (info.n_classes, info.shape) == (3, (1, 6, 5))
    assert dict(info.splits) == {"train": 28, "validation": 6, "test": 6}
    data = datasets.load(name)
    together = np.concatenate([data.images[split] for split in info.splits])
    assert {image.tobytes() for image in together} == {i.tobytes() for i in arrays(40)["images"]}
    training = data.images["train"] / 255.0
    assert data.mean == pytest.approx(training.mean(axis=(0, 2, 3)))
    assert data.std == pytest.approx(training.std(axis=(0, 2, 3)))


def test_a_test_split_of_ones_own_is_kept(tmp_path: Path) -> None:
    test = arrays(5, seed=1)
    extra = {"test_images": test["images"], "test_labels": test["labels"]}
    np.savez(tmp_path / "mine.npz", **arrays(40), **extra)
    name = f"npz:{tmp_path / 'mine.npz'}"
    assert dict(datasets.dataset_info(name).splits) == {"train": 34, "validation": 6, "test": 5}
    images, labels = datasets.load_split(name, "test")
    assert np.array_equal(images, test["images"]) and np.array_equal(labels, test["labels"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": arrays(9)["images"]}, "no array labels; it has: images"),
        (arrays(9) | {"images": np.zeros((9, 1, 2, 2))}, "must be uint8"),
        (arrays(9) | {"images": np.zeros((9, 4), dtype=np.uint8)}, "must be uint8"),
        (arrays(9) | {"labels": np.arange(8)}, "must be 9 integers from 0 up"),
        (arrays(9) | {"labels": np.arange(9) - 1}, "must be 9 integers from 0 up"),
        (arrays(9) | {"labels": np.array(["a"] * 9)}, "must be 9 integers from 0 up"),
        (arrays(9) | {"labels": np.array([None] * 9)}, "cannot be read"),
        (arrays(3), "3 images: too few"),
        (
            arrays(9) | {"test_images": arrays(2)["images"], "test_labels": np.array([0, 7])},
            "classes that labels has not",
        ),
        (arrays(9) | {"test_images": arrays(2)["images"]}, "no array test_labels"),
    ],
)
def test_a_file_whose_arrays_do_not_fit_is_refused(
    content: dict[str, Any], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "mine.npz", **content)
    with pytest.raises(CompressionError, match=message):
        datasets.dataset_info(f"npz:{tmp_path / 'mine.npz'}")


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "mine.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(CompressionError, match="it holds a single array"):
        datasets.dataset_info(f"npz:{tmp_path / 'mine.npz'}")


@pytest.mark.parametrize("content", [None, b"", b"nothing of the kind", b"PK\x03\x04 broken"])
def test_a_file_that_is_none_of_numpys_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CompressionError, match=r"cannot be read as \.npz"):
        datasets.dataset_info(f"npz:{path}")
