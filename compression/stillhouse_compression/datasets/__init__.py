"""Named data sets with a fixed train, validation and test split.

Depends on: numpy; scikit-learn when the digits are loaded. Selection uses validation, reports
use test.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stillhouse_compression.datasets.augmentation import Augmentation
from stillhouse_compression.datasets.cifar import (
    CIFAR10,
    CIFAR100,
    CifarArchive,
    Pool,
    read_cifar,
)
from stillhouse_compression.datasets.npz import PREFIX, read_npz
from stillhouse_compression.datasets.split import split_hash, stratified_split
from stillhouse_compression.errors import CompressionError, nearest

__all__ = [
    "Augmentation",
    "Dataset",
    "DatasetInfo",
    "available",
    "data_folder",
    "dataset_info",
    "load",
    "load_split",
]

_T = TypeVar("_T", bound=np.generic)
_SPLIT_SEED = 20_260_101


@dataclass(frozen=True)
class DatasetInfo:
    """One data set of the registry, known without loading it.

    Attributes:
        name: What `load` takes.
        description: One sentence.
        n_classes: Labels are 0..n_classes - 1.
        shape: (channels, height, width) of an image.
        splits: Split name -> number of images.
        augmentation: What training does to its images.
        read: Reads the images (n, C, H, W) uint8 and labels (n,) int64 of ``train``, from which
            validation is taken, and of ``test``, unless that is taken from ``train`` as well.
        is_there: Whether its files are on this machine.
    """

    name: str
    description: str
    n_classes: int
    shape: tuple[int, int, int]
    splits: Mapping[str, int]
    augmentation: Augmentation
    read: Callable[[], Mapping[str, Pool]]
    is_there: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    Attributes:
        info: Its entry in the registry.
        images: Split name -> uint8 (n, C, H, W).
        labels: Split name -> int64 (n,).
        mean: Per channel, of training pixels scaled to 0..1.
        std: Per channel, likewise; a network sees ``(pixel / 255 - mean) / std``.
        split_hash: sha256 of pixels, labels and split.
    """

    info: DatasetInfo
    images: Mapping[str, NDArray[np.uint8]]
    labels: Mapping[str, NDArray[np.int64]]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split_hash: str


def data_folder() -> Path:
    """Where archives lie: ``STILLHOUSE_DATA_DIR``, or ``~/.local/share/stillhouse``."""
    named = os.environ.get("STILLHOUSE_DATA_DIR")
    return Path(named) if named else Path.home() / ".local" / "share" / "stillhouse"


def _read_digits() -> Mapping[str, Pool]:
    # scikit-learn takes a second to import: only who loads the digits pays for it.
    from stillhouse_compression.datasets.digits import load_digit_images

    return {"train": load_digit_images()}


def _cifar(name: str, archive: CifarArchive) -> DatasetInfo:
    return DatasetInfo(
        name=name,
        description=f"60,000 colour photographs of {archive.n_classes} classes, 3x32x32",
        n_classes=archive.n_classes,
        shape=(3, 32, 32),
        splits={"train": 45_000, "validation": 5_000, "test": 10_000},
        augmentation=Augmentation(max_shift=4, is_mirrored=True),
        read=lambda: read_cifar(archive, data_folder()),
        is_there=lambda: (data_folder() / archive.filename).is_file(),
    )


@lru_cache(maxsize=4)
def _npz(name: str) -> DatasetInfo:
    """Describe a file of numpy's; it has to be read for that, and is kept."""
    path = Path(name.removeprefix(PREFIX))
    pools = read_npz(path)
    images, labels = pools["train"]
    n = len(labels)
    n_validation = max(1, n * 15 // 100)
    n_test = len(pools["test"][1]) if "test" in pools else max(1, n * 15 // 100)
    n_train = n - n_validation - (0 if "test" in pools else n_test)
    if n_train < 2:
        raise CompressionError(f"{path} has {n} images: too few to train, validate and test")
    return DatasetInfo(
        name=name,
        description=f"{n + (n_test if 'test' in pools else 0)} images of {path.name}",
        n_classes=int(labels.max()) + 1,
        shape=(images.shape[1], images.shape[2], images.shape[3]),
        splits={"train": n_train, "validation": n_validation, "test": n_test},
        augmentation=Augmentation(),
        read=lambda: pools,
    )


_DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            name="digits",
            description="Scikit-learn's 1797 handwritten digits, enlarged from 8x8 to 3x32x32",
            n_classes=10,
            shape=(3, 32, 32),
            splits={"train": 1000, "validation": 300, "test": 497},
            augmentation=Augmentation(max_shift=2),
            read=_read_digits,
        ),
        _cifar("cifar10", CIFAR10),
        _cifar("cifar100", CIFAR100),
    )
}


def available() -> tuple[DatasetInfo, ...]:
    """List every data set whose files are here, in a fixed order, without loading any."""
    return tuple(info for info in _DATASETS.values() if info.is_there())


def dataset_info(name: str) -> DatasetInfo:
    """Look one data set up: a name of the registry, or ``npz:<path>``.

    Raises:
        CompressionError: There is no such data set (the message names the nearest), or the file
            cannot be used.
    """
    if name.startswith(PREFIX):
        return _npz(name)
    info = _DATASETS.get(name)
    if info is None:
        raise CompressionError(
            f"no data set {name!r}{nearest(name, _DATASETS)}; there are: {', '.join(_DATASETS)}, "
            "npz:<path>"
        )
    return info


@lru_cache(maxsize=4)
def load(name: str) -> Dataset:
    """Read a data set into memory; loading it again is free.

    Raises:
        CompressionError: There is no such data set.
    """
    info = dataset_info(name)
    pools = info.read()
    images, labels = pools["train"]
    from_train = {split: n for split, n in info.splits.items() if split not in pools}
    from_train["train"] = info.splits["train"]
    index = stratified_split(labels, from_train, _SPLIT_SEED)
    parts = {split: (images[chosen], labels[chosen]) for split, chosen in index.items()}
    if "test" in pools:
        parts["test"] = pools["test"]
    mean, std = _mean_and_std(parts["train"][0])
    return Dataset(
        info=info,
        images={split: _frozen(parts[split][0]) for split in info.splits},
        labels={split: _frozen(parts[split][1]) for split in info.splits},
        mean=mean,
        std=std,
        split_hash=split_hash({split: parts[split] for split in info.splits}),
    )


def _mean_and_std(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel, of pixels scaled to 0..1; counted, so that large sets need no float copy."""
    values = np.arange(256) / 255.0
    means, deviations = [], []
    for channel in range(images.shape[1]):
        share = np.bincount(images[:, channel].ravel(), minlength=256) / images[:, channel].size
        mean = float(share @ values)
        means.append(mean)
        # A channel without any contrast is not divided by 0.
        deviations.append(math.sqrt(float(share @ (values - mean) ** 2)) or 1.0)
    return tuple(means), tuple(deviations)


def load_split(name: str, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one split.

    Args:
        name: Data set.
        split: ``train``, ``validation`` or ``test``.

    Returns:
        Images uint8 (n, C, H, W) and labels int64 (n,); both are shared and may not be written.

    Raises:
        CompressionError: No such data set or split.
    """
    info = dataset_info(name)
    if split not in info.splits:
        raise CompressionError(
            f"data set {name!r} has no split {split!r}; it has: {', '.join(info.splits)}"
        )
    data = load(name)
    return data.images[split], data.labels[split]


def _frozen(array: NDArray[_T]) -> NDArray[_T]:
    array.flags.writeable = False
    return array
