"""ImageNet's original archives, laid out as class folders.

Depends on: scipy.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from scipy.io import loadmat  # type: ignore[import-untyped]  # ships no types

from stillhouse_compression.datasets.download import md5_of
from stillhouse_compression.errors import CompressionError

_WNID = re.compile(r"n\d{8}")
_IMAGE = re.compile(r"[\w.-]+\.JPEG")
_DEVKIT = "ILSVRC2012_devkit_t12/data"


@dataclass(frozen=True)
class Archive:
    """One of the three archives.

    Attributes:
        filename: Of the archive.
        md5: As its site states it.
    """

    filename: str
    md5: str


TRAIN = Archive("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e")
VAL = Archive("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622")
DEVKIT = Archive("ILSVRC2012_devkit_t12.tar.gz", "fa75699e90414af021442c21a62c3abf")


def unpack_imagenet(
    archives: Path,
    to: Path,
    known: tuple[Archive, Archive, Archive] = (TRAIN, VAL, DEVKIT),
    progress: Callable[[int], None] = lambda n_images: None,
) -> int:
    """Lay ImageNet out as ``train/<class>/*.JPEG`` and ``val/<class>/*.JPEG``.

    Args:
        archives: Folder of the three archives.
        to: New or unfinished folder; what is there already with its size is not written again.
        known: Training images (an archive of an archive for each class), validation images, and
            the kit that says which class each of these has.
        progress: Told images done.

    Returns:
        Number of images.

    Raises:
        CompressionError: An archive is missing, another file, or damaged.

    Source: Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge"; the
        development kit's readme.
    """
    for archive in known:
        path = archives / archive.filename
        if not path.is_file():
            raise CompressionError(
                f"{path} is not there: get it from image-net.org, which wants to know who asks"
            )
        found = md5_of(path)
        if found != archive.md5:
            raise CompressionError(
                f"{path} is damaged or another file: its MD5 is {found}, wanted {archive.md5}"
            )
    train, val, devkit = (archives / archive.filename for archive in known)
    n_images = 0
    with _reading(devkit), tarfile.open(devkit) as tar:
        classes = _validation_classes(tar, devkit)
    with _reading(train), tarfile.open(train) as tar:
        for member, content in _files(tar):
            wnid = member.removesuffix(".tar")
            if not _WNID.fullmatch(wnid):
                raise CompressionError(f"{train} holds {member}, wanted one archive a class")
            with tarfile.open(fileobj=content) as inner:
                for name, image in _files(inner):
                    _write(to / "train" / wnid, name, image, train)
                    n_images += 1
                    progress(n_images)
    with _reading(val), tarfile.open(val) as tar:
        for name, image in _files(tar):
            if name not in classes:
                raise CompressionError(f"{val} holds {name}, of which {devkit} says no class")
            _write(to / "val" / classes[name], name, image, val)
            n_images += 1
            progress(n_images)
    return n_images


def _validation_classes(tar: tarfile.TarFile, path: Path) -> Mapping[str, str]:
    """Read which class each validation image has: file name -> WordNet id."""
    contents = {}
    for name in ("meta.mat", "ILSVRC2012_validation_ground_truth.txt"):
        member = tar.extractfile(f"{_DEVKIT}/{name}")
        if member is None:
            raise CompressionError(f"{path}: {name} is no file")
        contents[name] = member.read()
    synsets = loadmat(io.BytesIO(contents["meta.mat"]), squeeze_me=True)["synsets"]
    wnids = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in np.atleast_1d(synsets)}
    ids = [int(line) for line in contents["ILSVRC2012_validation_ground_truth.txt"].split()]
    return {f"ILSVRC2012_val_{i:08d}.JPEG": wnids[one] for i, one in enumerate(ids, start=1)}


def _files(tar: tarfile.TarFile) -> Iterable[tuple[str, IO[bytes]]]:
    """Names, without folders, and contents of an archive's files."""
    for member in tar:
        content = tar.extractfile(member) if member.isfile() else None
        if content is not None:
            yield Path(member.name).name, content


def _write(folder: Path, name: str, image: IO[bytes], archive: Path) -> None:
    if not _IMAGE.fullmatch(name):
        raise CompressionError(f"{archive} holds {name!r}, wanted images named *.JPEG")
    folder.mkdir(parents=True, exist_ok=True)
    content = image.read()
    path = folder / name
    if not path.is_file() or path.stat().st_size != len(content):
        path.write_bytes(content)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, KeyError, ValueError) as error:
        raise CompressionError(f"{path} cannot be read: {error}") from error
