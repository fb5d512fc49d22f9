"""Fixed, stratified, seeded splits and their hash.

Depends on: numpy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def stratified_split(
    labels: NDArray[np.int64], sizes: Mapping[str, int], seed: int
) -> dict[str, NDArray[np.int64]]:
    """Deal images into splits so that every class has nearly the same share in each.

    Each class is shuffled and spread evenly over 0..1; the images in order of that position are
    then cut into consecutive splits.

    Args:
        labels: Class of each image, (n,).
        sizes: Split name -> number of images; they must add up to n.
        seed: The same seed gives the same split on every machine (numpy's PCG64).

    Returns:
        Split name -> sorted image indices.

    Raises:
        ValueError: The sizes do not add up.
    """
    if sum(sizes.values()) != len(labels):
        raise ValueError(f"splits of {dict(sizes)} do not add up to {len(labels)} images")
    random = np.random.default_rng(seed)
    position = np.empty(len(labels), dtype=np.float64)
    for cls in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == cls))
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = np.lexsort((np.arange(len(labels)), labels, position))
    splits: dict[str, NDArray[np.int64]] = {}
    start = 0
    for name, size in sizes.items():
        splits[name] = np.sort(order[start : start + size]).astype(np.int64)
        start += size
    return splits


def split_hash(parts: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]) -> str:
    """Name a split by what is in it: sha256 over pixels and labels of each part, in order."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        images, labels = parts[name]
        digest.update(repr((name, images.shape)).encode())
        digest.update(np.ascontiguousarray(images).data)
        digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()
