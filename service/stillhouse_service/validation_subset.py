"""A part of a split that stands for all of it: each class with its share, small parts in larger.

Depends on: numpy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def subset(labels: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Choose images of a split.

    The images of each class are shuffled and laid out evenly along a line of length 1, all classes
    along the same one; the first n of that line are the part. So it has of every class what is its
    share, to within one image, and whatever a smaller n chooses is part of it.

    Args:
        labels: Class of each image of the split; shape (n_images,).
        n: How many, at most n_images.
        seed: Same labels and seed, same images.

    Returns:
        Their places in the split, rising; shape (n,).
    """
    rng = np.random.default_rng([seed, len(labels)])
    place = np.empty(len(labels))
    for of_class in np.unique(labels):
        images = rng.permutation(np.flatnonzero(labels == of_class))
        place[images] = (np.arange(len(images)) + rng.uniform()) / len(images)
    return np.sort(np.argsort(place, kind="stable")[:n])
