"""Named data sets: what is in them, how they are split, how training changes them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # ships no types

from stillhouse_compression import datasets
from stillhouse_compression.datasets.augmentation import Augmentation
from stillhouse_compression.datasets.split import split_hash, stratified_split
from stillhouse_compression.errors import CompressionError


def test_digits_are_split_1000_300_497_without_overlap() -> None:
    pixels = set()
    for split, n in (("train", 1000), ("validation", 300), ("test", 497)):
        images, labels = datasets.load_split("digits", split)
        assert images.shape == (n, 3, 32, 32) and images.dtype == np.uint8
        assert labels.shape == (n,) and labels.dtype == np.int64
        pixels |= {
            (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
        }
    every = load_digits()
    source = {(i.tobytes(), int(t)) for i, t in zip(every.images, every.target, strict=True)}
    assert len(pixels) == len(source)


def test_the_split_is_the_one_that_stored_baselines_were_trained_on() -> None:
    """Another split would let old baselines be tested on images they were trained on."""
    assert datasets.load("digits").split_hash.startswith("3749c6cd68153b47")


def test_every_class_has_its_share_in_every_split() -> None:
    share = np.bincount(load_digits().target) / 1797
    for split, n in datasets.dataset_info("digits").splits.items():
        _, labels = datasets.load_split("digits", split)
        assert np.abs(np.bincount(labels) - share * n).max() <= 2


def test_an_enlarged_digit_keeps_its_mean_and_its_range() -> None:
    """Bilinear enlargement by 4 gives every source pixel the same total weight, edges aside."""
    images, _ = datasets.load_split("digits", "train")
    assert images.min() == 0 and images.max() > 240
    assert (images[:, 0] == images[:, 1]).all() and (images[:, 0] == images[:, 2]).all()
    source = load_digits().images.mean() / 16 * 255
    assert datasets.load("digits").mean[0] * 255 == pytest.approx(source, rel=0.02)


def test_training_pixels_have_mean_0_and_deviation_1_once_normalised() -> None:
    data = datasets.load("digits")
    x = (data.images["train"] / 255.0 - data.mean[0]) / data.std[0]
    assert x.mean() == pytest.approx(0.0, abs=1e-9)
    assert x.std() == pytest.approx(1.0, abs=1e-9)


def test_images_are_shared_and_cannot_be_written() -> None:
    images, _ = datasets.load_split("digits", "train")
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=10, max_size=80), st.integers(0, 2**32 - 1))
def test_a_split_deals_out_every_image_once(labels: list[int], seed: int) -> None:
    array = np.array(labels, dtype=np.int64)
    sizes = {"train": len(labels) // 2, "test": len(labels) - len(labels) // 2}
    splits = stratified_split(array, sizes, seed)
    assert {name: len(index) for name, index in splits.items()} == sizes
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(labels)))
    for cls in range(5):
        n = int((array == cls).sum())
        in_train = int((array[splits["train"]] == cls).sum())
        assert abs(in_train - n / 2) <= 3  # one for its own rounding, the rest for ties between


def test_the_hash_tells_pixels_labels_and_parts_apart() -> None:
    images = np.zeros((4, 1, 2, 2), dtype=np.uint8)
    labels = np.arange(4)
    other = images.copy()
    other[3, 0, 1, 1] = 1
    parts = {"train": (images[:2], labels[:2]), "test": (images[2:], labels[2:])}
    hashes = {
        split_hash(parts),
        split_hash(parts | {"test": (other[2:], labels[2:])}),
        split_hash(parts | {"test": (images[2:], labels[:2])}),
        split_hash({"train": parts["test"], "test": parts["train"]}),
    }
    assert len(hashes) == 4
    assert split_hash(dict(reversed(parts.items()))) == split_hash(parts)


def test_a_shift_moves_the_whole_image_and_fills_what_comes_in() -> None:
    image = torch.zeros(64, 1, 5, 5, dtype=torch.uint8)
    image[:, 0, 2, 2] = 200
    moved = Augmentation(max_shift=2, fill=7).apply(image, torch.Generator().manual_seed(0))
    assert moved.shape == image.shape and moved.dtype == torch.uint8
    places = (moved == 200).nonzero()[:, 2:]
    assert len(places) == 64  # the dot is still there, once in every image
    assert set(places.flatten().tolist()) == {0, 1, 2, 3, 4}
    row, column = places[0].tolist()
    filled = moved[0, 0] == 7
    assert filled.sum() == 25 - (5 - abs(row - 2)) * (5 - abs(column - 2))


def test_mirroring_turns_about_half_of_the_images() -> None:
    image = torch.zeros(400, 1, 1, 3, dtype=torch.uint8)
    image[:, 0, 0, 0] = 1
    turned = Augmentation(is_mirrored=True).apply(image, torch.Generator().manual_seed(0))
    n = int(turned[:, 0, 0, 2].sum())
    assert 160 < n < 240 and int(turned.sum()) == 400


def test_unknown_names_are_answered_with_what_there_is() -> None:
    with pytest.raises(CompressionError, match="did you mean 'digits'"):
        datasets.load_split("digit", "train")
    with pytest.raises(CompressionError, match="train, validation, test"):
        datasets.load_split("digits", "valid")
