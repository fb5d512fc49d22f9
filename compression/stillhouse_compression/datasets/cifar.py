"""CIFAR-10 and CIFAR-100 from the original archives ("python version") on the user's disk.

Depends on: numpy. Their pickles are read by an unpickler that builds arrays and nothing else.
"""

from __future__ import annotations

import codecs
import io
import pickle
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy._core.multiarray import _reconstruct
from numpy.typing import NDArray

from stillhouse_compression.datasets.download import md5_of
from stillhouse_compression.errors import CompressionError

Pool = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class CifarArchive:
    """One of the two archives.

    Attributes:
        name: Of the data set.
        filename: Of the archive.
        url: Where it comes from.
        md5: Of the archive, as its site states it.
        folder: Inside the archive.
        train_files: Batches of the training images.
        test_files: Batches of the test images.
        label_key: Key of the labels in a batch.
        n_classes: Labels are 0..n_classes - 1.
        n_train: Training images in all.
        n_test: Test images in all.

    Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images", appendix.
    """

    name: str
    filename: str
    url: str
    md5: str
    folder: str
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    label_key: str
    n_classes: int
    n_train: int = 50_000
    n_test: int = 10_000


CIFAR10 = CifarArchive(
    name="cifar10",
    filename="cifar-10-python.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",
    folder="cifar-10-batches-py",
    train_files=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test_files=("test_batch",),
    label_key="labels",
    n_classes=10,
)
CIFAR100 = CifarArchive(
    name="cifar100",
    filename="cifar-100-python.tar.gz",
    url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    folder="cifar-100-python",
    train_files=("train",),
    test_files=("test",),
    label_key="fine_labels",
    n_classes=100,
)


def read_cifar(archive: CifarArchive, data_folder: Path) -> dict[str, Pool]:
    """Read an archive whole, after checking its checksum.

    Args:
        archive: Which one.
        data_folder: Where the archive lies.

    Returns:
        ``train`` and ``test``, each images uint8 (n, 3, 32, 32) and labels int64 (n,).

    Raises:
        CompressionError: The archive is missing, another file, damaged, or holds other numbers of
            images than it should: no part of it is used then.
    """
    path = data_folder / archive.filename
    if not path.is_file():
        raise CompressionError(
            f"{path} is not there: run `stillhouse dataset download {archive.name}`, download it "
            f"from {archive.url}, or set STILLHOUSE_DATA_DIR to the folder that holds it"
        )
    found = md5_of(path)
    if found != archive.md5:
        raise CompressionError(
            f"{path} is damaged or another file: its MD5 is {found}, wanted {archive.md5}; "
            f"download it again from {archive.url}"
        )
    try:
        with tarfile.open(path, "r:gz") as tar:
            train = _pool(tar, archive, archive.train_files)
            test = _pool(tar, archive, archive.test_files)
    except (tarfile.TarError, OSError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise CompressionError(f"{path} cannot be read: {error}") from error
    for name, (_, labels), wanted in (
        ("training", train, archive.n_train),
        ("test", test, archive.n_test),
    ):
        if len(labels) != wanted:
            raise CompressionError(f"{path} has {len(labels)} {name} images, wanted {wanted}")
    return {"train": train, "test": test}


def _pool(tar: tarfile.TarFile, archive: CifarArchive, files: Sequence[str]) -> Pool:
    images, labels = [], []
    for name in files:
        member = tar.extractfile(f"{archive.folder}/{name}")
        if member is None:
            raise CompressionError(f"{archive.filename}: {name} is no file")
        batch = _Unpickler(io.BytesIO(member.read()), encoding="latin1").load()
        images.append(_pixels(batch, name))
        labels.append(_labels(batch, archive, name, len(images[-1])))
    return np.concatenate(images), np.concatenate(labels)


def _pixels(batch: Any, name: str) -> NDArray[np.uint8]:
    pixels = batch.get("data") if isinstance(batch, dict) else None
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.shape[1:] != (3072,)
    ):
        raise CompressionError(f"{name} holds no rows of 3072 pixels")
    return pixels.reshape(-1, 3, 32, 32)


def _labels(batch: Any, archive: CifarArchive, name: str, n: int) -> NDArray[np.int64]:
    labels = np.asarray(batch.get(archive.label_key, ()), dtype=np.int64)
    if labels.shape != (n,) or (n and not 0 <= labels.min() <= labels.max() < archive.n_classes):
        raise CompressionError(
            f"{name} does not hold one label in 0..{archive.n_classes - 1} for each of {n} images"
        )
    return labels


class _Unpickler(pickle.Unpickler):
    """Builds numpy arrays, numbers, texts, lists and dictionaries; refuses all else."""

    _ALLOWED: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): codecs.encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Look up one of the few callables that arrays need."""
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"refuses to build {module}.{name}") from None


ARCHIVES = {archive.name: archive for archive in (CIFAR10, CIFAR100)}
