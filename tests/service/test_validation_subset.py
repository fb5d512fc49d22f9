"""A part of a split stands for all of it: every class with its share, smaller parts in larger."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_benchmark.protocol import DataManifest
from stillhouse_compression.datasets import load_split
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.device_data import store_split
from stillhouse_service.validation_subset import subset

splits = st.lists(st.integers(0, 5), min_size=1, max_size=120)


@given(splits, st.integers(0, 2**31 - 1), st.data())
def test_a_smaller_part_lies_in_a_larger_and_both_have_every_class_with_its_share(
    labels: list[int], seed: int, data: Any
) -> None:
    split = np.array(labels)
    n = data.draw(st.integers(1, len(split)))
    part = subset(split, n, seed)
    assert len(set(part.tolist())) == n
    assert set(part.tolist()) <= set(range(len(split)))
    assert (np.diff(part) > 0).all()  # in the split's own order
    larger = subset(split, data.draw(st.integers(n, len(split))), seed)
    assert set(part.tolist()) <= set(larger.tolist())
    # Images of a class lie evenly on the line that is cut at n, so their number is as sharp as n:
    # the cut lies where the shares of all classes add to n, each to within one image.
    counts = np.bincount(split[part], minlength=6)
    whole = np.bincount(split, minlength=6)
    cuts = [(c - 1) / w for c, w in zip(counts, whole, strict=True) if w]
    ends = [(c + 1) / w for c, w in zip(counts, whole, strict=True) if w]
    assert max(cuts) <= min(ends)  # one cut explains the counts of all classes


def test_a_tenth_of_balanced_classes_is_a_tenth_of_each() -> None:
    labels = np.repeat(np.arange(10), 30)
    counts = np.bincount(labels[subset(labels, 30, 0)], minlength=10)
    assert counts.sum() == 30
    assert counts.min() >= 2 and counts.max() <= 4  # three, or one more or less


def test_another_seed_chooses_others() -> None:
    labels = np.repeat(np.arange(10), 30)
    assert subset(labels, 50, 1).tolist() == subset(labels, 50, 1).tolist()
    assert subset(labels, 50, 1).tolist() != subset(labels, 50, 2).tolist()


def test_a_part_is_laid_out_for_hosts_as_a_split_is(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    named = store_split(store, "digits", "validation", part={"n_images": 40, "seed": 3})
    manifest = DataManifest.from_json(json.loads(store.read(named["data_validation"].sha256)))
    images, labels = load_split("digits", "validation")
    chosen = subset(labels, 40, 3)
    assert (manifest.split, manifest.n_images) == ("validation", 40)
    (shard,) = manifest.shards
    assert np.array_equal(np.load(io.BytesIO(store.read(shard.sha256))), images[chosen])
    kept = np.load(io.BytesIO(store.read(manifest.labels.sha256)))
    assert np.array_equal(kept, labels[chosen])
    whole = store_split(store, "digits", "validation")["data_validation"]
    assert whole != named["data_validation"]
