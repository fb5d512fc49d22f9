"""A data set's split as files for device hosts: shards, labels and a manifest.

Depends on: numpy, stillhouse_compression.datasets, stillhouse_benchmark.protocol.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillhouse_benchmark.protocol import DataManifest, File, Shard
from stillhouse_compression import datasets
from stillhouse_service.artifacts import Artifact, ArtifactStore
from stillhouse_service.validation_subset import subset

MAX_SHARD_BYTES = 64 * 2**20


def store_split(
    store: ArtifactStore,
    dataset: str,
    split: str,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    part: Mapping[str, Any] | None = None,
) -> dict[str, Artifact]:
    """Write a split, or a part of it, to the store; writing it again writes nothing.

    Args:
        store: Where to.
        dataset: A data set of compression's registry.
        split: `validation` or `test`.
        max_shard_bytes: Most pixels in one shard; at least one image goes into each.
        part: `n_images` and `seed` of a `subset`; None writes the whole.

    Returns:
        `data_SPLIT`, the manifest, and `data_SPLIT_0`, ...: the shards and labels that it names.

    Raises:
        CompressionError: No such data set or split.
    """
    data = datasets.load(dataset)
    images, labels = datasets.load_split(dataset, split)  # uint8 (n, C, H, W), int64 (n,)
    if part is not None:
        chosen = subset(labels, int(part["n_images"]), int(part["seed"]))
        images, labels = images[chosen], labels[chosen]
    n_in_shard = max(1, max_shard_bytes // images[0].nbytes)
    files, shards = [], []
    for start in range(0, len(images), n_in_shard):
        some = images[start : start + n_in_shard]
        stored = store.put(_npy(some), "application/x-npy")
        files.append(stored)
        shards.append(Shard(stored.sha256, stored.n_bytes, len(some)))
    stored_labels = store.put(_npy(labels), "application/x-npy")
    manifest = DataManifest(
        dataset=dataset,
        split=split,
        split_hash=data.split_hash,
        n_images=len(images),
        n_classes=data.info.n_classes,
        shape=data.info.shape,
        mean=data.mean,
        std=data.std,
        shards=tuple(shards),
        labels=File(stored_labels.sha256, stored_labels.n_bytes),
    )
    text = json.dumps(manifest.to_json(), indent=1, sort_keys=True)
    named = store.put(text.encode(), "application/json")
    parts = enumerate([*files, stored_labels])
    return {f"data_{split}": named, **{f"data_{split}_{i}": file for i, file in parts}}


def _npy(array: NDArray[np.generic]) -> bytes:
    """Write an array as numpy's file format."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
