"""Named data sets with a fixed train, validation and test split.

Depends on: numpy; scikit-learn when the digits are loaded. Selection uses validation, reports
use test.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stillhouse_compression.datasets import folder
from stillhouse_compression.datasets.augmentation import Augmentation
from stillhouse_compression.datasets.cifar import (
    CIFAR10,
    CIFAR100,
    CifarArchive,
    Pool,
    read_cifar,
)
from stillhouse_compression.datasets.npz import PREFIX, read_npz
from stillhouse_compression.datasets.registered import (
    Registered,
    read_registered,
    write_registered,
)
from stillhouse_compression.datasets.split import split_hash, stratified_split
from stillhouse_compression.errors import CompressionError, nearest

__all__ = [
    "Augmentation",
    "Dataset",
    "DatasetInfo",
    "add",
    "available",
    "data_folder",
    "dataset_info",
    "load",
    "load_split",
    "remove",
]

_T = TypeVar("_T", bound=np.generic)
_SPLIT_SEED = 20_260_101
# What networks with published ImageNet weights were trained with.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_ON_DISK = (PREFIX, folder.PREFIX)


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
        normalisation: Mean and deviation per channel of pixels scaled to 0..1; None takes those
            of the training images.
    """

    name: str
    description: str
    n_classes: int
    shape: tuple[int, int, int]
    splits: Mapping[str, int]
    augmentation: Augmentation
    read: Callable[[], Mapping[str, Pool]]
    is_there: Callable[[], bool] = lambda: True
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None


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


def _folder(name: str, path: Path, skips_bad: bool = False) -> DatasetInfo:
    """Describe a folder of class folders; its images are decoded when they are loaded."""
    listing = folder.list_folder(path)
    splits = {split: len(files) for split, files in listing.files.items()}
    return DatasetInfo(
        name=name,
        description=f"{sum(splits.values())} images of {len(listing.classes)} classes in {path}",
        n_classes=len(listing.classes),
        shape=(3, folder.SIDE, folder.SIDE),
        splits=splits,
        augmentation=Augmentation(crop=folder.SIDE, is_mirrored=True),
        read=lambda: folder.read_folder(path, data_folder() / "decoded", skips_bad),
        normalisation=_IMAGENET,
    )


def _from_disk(name: str, source: str, skips_bad: bool = False) -> DatasetInfo:
    if source.startswith(folder.PREFIX):
        return _folder(name, Path(source.removeprefix(folder.PREFIX)), skips_bad)
    return dataclasses.replace(_npz(source), name=name)


def _named(name: str, entry: Registered) -> DatasetInfo:
    """A registered data set, as it was when it was added."""

    def read() -> Mapping[str, Pool]:
        return _from_disk(name, entry.source, entry.skips_bad).read()

    is_folder = entry.source.startswith(folder.PREFIX)
    return DatasetInfo(
        name=name,
        description=entry.description,
        n_classes=entry.n_classes,
        shape=entry.shape,
        splits=entry.splits,
        augmentation=Augmentation(crop=folder.SIDE, is_mirrored=True)
        if is_folder
        else Augmentation(),
        read=read,
        is_there=lambda: entry.path.exists(),
        normalisation=_IMAGENET if is_folder else None,
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
    return tuple(info for info in _known().values() if info.is_there())


def _known() -> dict[str, DatasetInfo]:
    registered = read_registered(data_folder())
    return _DATASETS | {name: _named(name, entry) for name, entry in registered.items()}


def add(
    name: str,
    source: str,
    skips_bad: bool = False,
    progress: Callable[[int, int], None] = lambda n_done, n_all: None,
) -> DatasetInfo:
    """Give a data set of this machine's disk a name, after reading all of it.

    Args:
        name: What studies and baselines call it.
        source: ``folder:<path>`` or ``npz:<path>``.
        skips_bad: Leave out images of a folder that do not decode, and keep their names.
        progress: Told images decoded and in all.

    Raises:
        CompressionError: The name is taken or no name, or the data cannot be used.
    """
    if name in _DATASETS:
        raise CompressionError(f"there is a data set {name!r} already; give it another name")
    prefix = next((one for one in _ON_DISK if source.startswith(one)), None)
    if prefix is None:
        raise CompressionError(f"wanted folder:<path> or npz:<path>, got {source!r}")
    path = Path(source.removeprefix(prefix)).expanduser().resolve()
    source = f"{prefix}{path}"
    skipped: tuple[str, ...] = ()
    _npz.cache_clear()
    load.cache_clear()
    info = _from_disk(name, source, skips_bad)
    splits, description = dict(info.splits), info.description
    if prefix == folder.PREFIX:
        cache = data_folder() / "decoded"
        pools = folder.read_folder(path, cache, skips_bad, progress)
        skipped = tuple(folder.bad_images(path, cache, skips_bad))
        splits = {split: len(labels) for split, (_, labels) in pools.items()}
        if skipped:
            description += f"; {len(skipped)} that do not decode are left out"
    entry = Registered(source, description, info.n_classes, info.shape, splits, skips_bad, skipped)
    write_registered(data_folder(), name, entry)
    return _named(name, entry)


def remove(name: str) -> None:
    """Take a name away; the images stay where they are.

    Raises:
        CompressionError: Nobody has given it.
    """
    if name not in read_registered(data_folder()):
        raise CompressionError(f"no data set {name!r} was added here")
    write_registered(data_folder(), name, None)
    load.cache_clear()


def dataset_info(name: str) -> DatasetInfo:
    """Look one data set up: a name of the registry, ``npz:<path>`` or ``folder:<path>``.

    Raises:
        CompressionError: There is no such data set (the message names the nearest), or the file
            cannot be used.
    """
    if name.startswith(_ON_DISK):
        return _from_disk(name, name)
    known = _known()
    if name not in known:
        raise CompressionError(
            f"no data set {name!r}{nearest(name, known)}; there are: {', '.join(known)}; "
            "`stillhouse dataset add` names one of your own"
        )
    return known[name]


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
    parts = {split: pools[split] for split in info.splits if split in pools}
    if sum(from_train.values()) != len(labels):
        raise CompressionError(
            f"data set {name!r} has {len(labels)} images where {sum(from_train.values())} were "
            "when it was added: `stillhouse dataset add` it again"
        )
    if len(from_train) > 1:
        index = stratified_split(labels, from_train, _SPLIT_SEED)
        parts |= {split: (images[chosen], labels[chosen]) for split, chosen in index.items()}
    mean, std = info.normalisation or _mean_and_std(parts["train"][0])
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
