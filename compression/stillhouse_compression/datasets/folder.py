"""Images in class folders, ImageNet among them: decoded once, kept as arrays on disk.

Depends on: numpy; Pillow (extra `images`), which is imported when images are decoded.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stillhouse_compression.datasets.cifar import Pool
from stillhouse_compression.datasets.split import stratified_split
from stillhouse_compression.errors import CompressionError

PREFIX = "folder:"
SIDE = 224  # what a network sees
STORED = 256  # the shorter side after resizing; training crops SIDE out of it at random
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
_SPLIT_SEED = 20_260_101
_MAX_VALIDATION = 50_000
_NAMED = 5  # bad images named in a message


@dataclass(frozen=True)
class Listing:
    """The images of a folder, not decoded.

    Attributes:
        root: The folder.
        classes: Names of the class folders, sorted; a class's label is its place.
        files: Split name -> (path, label) of each image.
    """

    root: Path
    classes: tuple[str, ...]
    files: Mapping[str, Sequence[tuple[Path, int]]]


def list_folder(root: Path) -> Listing:
    """Find the images of a folder and deal them into splits.

    A folder of class folders is split 70 : 15 : 15. One with ``train`` and ``val`` (as ImageNet
    has), or ``train`` and ``test``, in which the class folders are: that second part is the test
    split, and validation is taken from the training images (15 %, at most 50,000). With all
    three, each is what its name says.

    Raises:
        CompressionError: The folder is missing, has no class folders, or its parts have other
            classes than one another.
    """
    if not root.is_dir():
        raise CompressionError(f"{root} is no folder: give the folder that holds class folders")
    parts = {name: root / name for name in ("train", "val", "test") if (root / name).is_dir()}
    if "train" not in parts:
        parts = {"train": root}
    classes = _classes(parts["train"])
    found = {name: _images(folder, classes) for name, folder in parts.items()}
    files: dict[str, Sequence[tuple[Path, int]]] = {}
    if {"val", "test"} <= set(found):
        files = {"validation": found["val"], "test": found["test"]}
    elif len(found) == 2:
        files = {"test": found.get("val") or found["test"]}
    pool = found["train"]
    sizes = {}
    for split in ("validation", "test"):
        if split not in files:
            sizes[split] = min(max(1, len(pool) * 15 // 100), _MAX_VALIDATION)
    n_train = len(pool) - sum(sizes.values())
    if n_train < 2:
        raise CompressionError(f"{root} has {len(pool)} images to train: too few")
    labels = np.array([label for _, label in pool], dtype=np.int64)
    index = stratified_split(labels, {"train": n_train, **sizes}, _SPLIT_SEED)
    for split, chosen in index.items():
        files[split] = [pool[i] for i in chosen]
    return Listing(root, classes, {name: files[name] for name in ("train", "validation", "test")})


def read_folder(
    root: Path,
    cache: Path,
    skips_bad: bool = False,
    progress: Callable[[int, int], None] = lambda n_done, n_all: None,
) -> dict[str, Pool]:
    """Read a folder's images, decoding them if they are not in the cache.

    The shorter side becomes 256 pixels (bilinear), the middle 256x256 are kept: training crops
    224x224 out of them, validation and test are their middle 224x224.

    Args:
        root: See `list_folder`.
        cache: Where decoded images are kept, as ``.npy`` that is mapped, not read, into memory.
        skips_bad: Leave out images that do not decode, rather than refuse the folder.
        progress: Told images done and in all.

    Returns:
        ``train`` (n, 3, 256, 256), ``validation`` and ``test`` (n, 3, 224, 224), uint8, with
        their labels.

    Raises:
        CompressionError: See `list_folder`; or Pillow is missing, or an image does not decode.
    """
    listing = list_folder(root)
    place = cache / _key(listing, skips_bad)
    if not place.is_dir():
        _decode_all(listing, place, skips_bad, progress)
    pools = {}
    for split in listing.files:
        images = np.load(place / f"{split}.npy", mmap_mode="r")
        pools[split] = (images, np.load(place / f"{split}_labels.npy"))
    return pools


def bad_images(root: Path, cache: Path, skips_bad: bool) -> list[str]:
    """Name the images of a decoded folder that were left out."""
    place = cache / _key(list_folder(root), skips_bad)
    bad: list[str] = json.loads((place / "bad.json").read_text())
    return bad


def _classes(folder: Path) -> tuple[str, ...]:
    classes = sorted(one.name for one in folder.iterdir() if one.is_dir() and _has_images(one))
    if len(classes) < 2:
        raise CompressionError(
            f"{folder} has {len(classes)} class folders with images, at least 2 are wanted: one "
            "folder a class, its images inside"
        )
    return tuple(classes)


def _has_images(folder: Path) -> bool:
    return any(_is_image(path) for path in folder.rglob("*"))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _images(folder: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """List the images of class folders, in order of their names."""
    unknown = sorted(
        one.name
        for one in folder.iterdir()
        if one.is_dir() and one.name not in classes and _has_images(one)
    )
    missing = [name for name in classes if not (folder / name).is_dir()]
    if folder.name != "train" and (unknown or missing):
        fault = f"{missing[0]} is missing" if missing else f"{unknown[0]} is not among train's"
        raise CompressionError(
            f"{folder} has other class folders than train: {fault}; both need the same"
        )
    return [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((folder / name).rglob("*"))
        if _is_image(path)
    ]


def _key(listing: Listing, skips_bad: bool) -> str:
    """Name a decoded folder by its files' names, sizes and times."""
    digest = hashlib.sha256(repr((STORED, SIDE, skips_bad)).encode())
    for split, files in listing.files.items():
        for path, label in files:
            about = path.stat()
            digest.update(
                repr((split, str(path), label, about.st_size, about.st_mtime_ns)).encode()
            )
    return digest.hexdigest()[:32]


def _decode_all(
    listing: Listing, place: Path, skips_bad: bool, progress: Callable[[int, int], None]
) -> None:
    """Decode every image into a new folder, which appears under its name when it is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".decoding-", dir=place.parent))
    n_all, n_done = sum(map(len, listing.files.values())), 0
    bad: list[str] = []
    try:
        for split, files in listing.files.items():
            side = STORED if split == "train" else SIDE
            whole = np.lib.format.open_memmap(
                unfinished / f"{split}.npy", "w+", np.uint8, (len(files), 3, side, side)
            )
            kept: list[int] = []
            for path, label in files:
                n_done += 1
                image = _decode(path, side)
                if image is None:
                    bad.append(str(path.relative_to(listing.root)))
                else:
                    whole[len(kept)] = image
                    kept.append(label)
                progress(n_done, n_all)
            whole.flush()
            if len(kept) < len(files) and skips_bad:
                _shorten(unfinished / f"{split}.npy", whole, len(kept))
            np.save(unfinished / f"{split}_labels.npy", np.array(kept, dtype=np.int64))
        if bad and not skips_bad:
            named = ", ".join(bad[:_NAMED]) + (", ..." if len(bad) > _NAMED else "")
            raise CompressionError(
                f"{len(bad)} of {n_all} images in {listing.root} do not decode: {named}; mend or "
                "remove them, or add the data set with --skip-bad"
            )
        (unfinished / "bad.json").write_text(json.dumps(bad))
        if not place.exists():
            unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _shorten(path: Path, whole: NDArray[np.uint8], n: int) -> None:
    """Keep an array file's first `n` images, a few at a time: it may be larger than memory."""
    shorter = path.with_name("shorter.npy")
    kept = np.lib.format.open_memmap(shorter, "w+", np.uint8, (n, *whole.shape[1:]))
    for start in range(0, n, 1000):
        kept[start : start + 1000] = whole[start : min(start + 1000, n)]
    kept.flush()
    shorter.replace(path)


def _decode(path: Path, side: int) -> NDArray[np.uint8] | None:
    """Decode, resize and crop one image to (3, side, side); None where it does not decode."""
    try:
        from PIL import Image
    except ImportError as error:
        raise CompressionError(
            "class folders need Pillow, which is not installed: run `pip install "
            "'stillhouse[images]'` on the server and on its compute workers"
        ) from error
    try:
        with Image.open(path) as image:
            colour = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    width, height = colour.size
    scale = STORED / min(width, height)
    size = (max(STORED, round(width * scale)), max(STORED, round(height * scale)))
    colour = colour.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    pixels = np.asarray(colour.crop((left, top, left + side, top + side)), dtype=np.uint8)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
