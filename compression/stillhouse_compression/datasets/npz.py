"""A data set of one's own: ``npz:<path>``, a file of numpy's with ``images`` and ``labels``.

Depends on: numpy. Nothing is unpickled.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from stillhouse_compression.datasets.cifar import Pool
from stillhouse_compression.errors import CompressionError

PREFIX = "npz:"


def read_npz(path: Path) -> dict[str, Pool]:
    """Read a file with ``images`` uint8 (n, C, H, W) and ``labels`` integers (n,).

    ``test_images`` and ``test_labels`` may be there as well; otherwise the test split is taken
    from the images.

    Raises:
        CompressionError: The file is missing, damaged, or its arrays do not fit one another.
    """
    try:
        # Opened here, because np.load leaves a damaged file open.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise CompressionError(f"{path} cannot be read as .npz: {error}") from error
    pools = {"train": _pool(path, arrays, "")}
    if "test_images" in arrays or "test_labels" in arrays:
        pools["test"] = _pool(path, arrays, "test_")
        if pools["test"][0].shape[1:] != pools["train"][0].shape[1:]:
            raise CompressionError(f"{path}: test_images and images differ in shape")
        if pools["test"][1].max() > pools["train"][1].max():
            raise CompressionError(f"{path}: test_labels has classes that labels has not")
    return pools


def _pool(path: Path, arrays: dict[str, np.ndarray], prefix: str) -> Pool:
    for name in (f"{prefix}images", f"{prefix}labels"):
        if name not in arrays:
            raise CompressionError(f"{path} has no array {name}; it has: {', '.join(arrays)}")
    images, labels = arrays[f"{prefix}images"], arrays[f"{prefix}labels"]
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0:
        raise CompressionError(
            f"{path}: {prefix}images must be uint8 (n, C, H, W), got {images.dtype} {images.shape}"
        )
    is_fitting = labels.shape == (len(images),) and np.issubdtype(labels.dtype, np.integer)
    if not is_fitting or labels.min() < 0:
        raise CompressionError(
            f"{path}: {prefix}labels must be {len(images)} integers from 0 up, "
            f"got {labels.dtype} {labels.shape}"
        )
    return images, labels.astype(np.int64)
