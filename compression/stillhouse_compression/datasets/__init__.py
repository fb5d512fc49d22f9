"""Named data sets with a fixed train, validation and test split.

Depends on: numpy; scikit-learn when the digits are loaded. Selection uses validation, reports
use test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stillhouse_compression.datasets.augmentation import Augmentation
from stillhouse_compression.datasets.split import split_hash, stratified_split
from stillhouse_compression.errors import CompressionError, nearest

__all__ = [
    "Augmentation",
    "Dataset",
    "DatasetInfo",
    "available",
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
        read: Reads all images (n, C, H, W) uint8 and labels (n,) int64.
    """

    name: str
    description: str
    n_classes: int
    shape: tuple[int, int, int]
    splits: Mapping[str, int]
    augmentation: Augmentation
    read: Callable[[], tuple[NDArray[np.uint8], NDArray[np.int64]]]


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


def _read_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    # scikit-learn takes a second to import: only who loads the digits pays for it.
    from stillhouse_compression.datasets.digits import load_digit_images

    return load_digit_images()


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
    )
}


def available() -> tuple[DatasetInfo, ...]:
    """List every data set, in a fixed order, without loading any."""
    return tuple(_DATASETS.values())


def dataset_info(name: str) -> DatasetInfo:
    """Look one data set up.

    Raises:
        CompressionError: There is no such data set; the message names the nearest.
    """
    info = _DATASETS.get(name)
    if info is None:
        raise CompressionError(
            f"no data set {name!r}{nearest(name, _DATASETS)}; there are: {', '.join(_DATASETS)}"
        )
    return info


@lru_cache(maxsize=4)
def load(name: str) -> Dataset:
    """Read a data set into memory; loading it again is free.

    Raises:
        CompressionError: There is no such data set.
    """
    info = dataset_info(name)
    images, labels = info.read()
    splits = stratified_split(labels, info.splits, _SPLIT_SEED)
    training = images[splits["train"]].astype(np.float64) / 255.0
    return Dataset(
        info=info,
        images={split: _frozen(images[index]) for split, index in splits.items()},
        labels={split: _frozen(labels[index]) for split, index in splits.items()},
        mean=tuple(float(value) for value in training.mean(axis=(0, 2, 3))),
        std=tuple(float(value) for value in training.std(axis=(0, 2, 3))),
        split_hash=split_hash(images, labels, splits),
    )


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
