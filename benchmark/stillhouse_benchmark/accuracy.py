"""Top-1 and Top-5 over a split, streamed from disk, one image at a time.

Depends on: numpy.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator

import numpy as np

from stillhouse_benchmark.errors import JobFailed, ProtocolError
from stillhouse_benchmark.protocol import Accuracy, Counts, DataManifest

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]
    Ranks = npt.NDArray[np.uint16]  # of the right class, 0 is the best; (n_images,)

PROGRESS_EVERY = 100


@dataclass(frozen=True)
class Images:
    """A split on disk.

    Attributes:
        manifest: What it is.
        shards: ``.npy`` files in the manifest's order.
        labels: ``.npy`` file.
    """

    manifest: DataManifest
    shards: tuple[Path, ...]
    labels: Path

    def __iter__(self) -> Iterator[tuple[Array, int]]:
        """Normalised images of shape (1, channels, height, width) with their labels.

        Raises:
            JobFailed: ``bad-artifact``: a shard or the labels are not what the manifest says.
        """
        manifest = self.manifest
        mean = np.asarray(manifest.mean, dtype=np.float32).reshape(1, -1, 1, 1)
        std = np.asarray(manifest.std, dtype=np.float32).reshape(1, -1, 1, 1)
        labels = self.load_labels()
        at = 0
        for shard, path in zip(manifest.shards, self.shards):
            pixels = _load(path, "shard", np.uint8, (shard.n_images, *manifest.shape))
            for index in range(shard.n_images):
                image = pixels[index : index + 1].astype(np.float32)
                image /= np.float32(255.0)
                image -= mean
                image /= std
                yield image, int(labels[at])
                at += 1

    def load_labels(self) -> npt.NDArray[np.int64]:
        """The split's labels.

        Raises:
            JobFailed: ``bad-artifact``: not what the manifest says.
        """
        manifest = self.manifest
        labels = _load(self.labels, "labels", np.int64, (manifest.n_images,))
        if labels.min() < 0 or labels.max() >= manifest.n_classes:
            raise JobFailed(
                "bad-artifact", "accuracy", f"a label lies outside 0..{manifest.n_classes - 1}"
            )
        return labels


def open_images(manifest_path: Path, files: Callable[[str], Path], split: str) -> Images:
    """Read a manifest and find its files.

    Args:
        manifest_path: The manifest's JSON.
        files: Content hash -> path.
        split: The split it must be of.

    Raises:
        JobFailed: ``bad-artifact``.
    """
    manifest = read_manifest(manifest_path, split)
    return Images(
        manifest,
        tuple(files(shard.sha256) for shard in manifest.shards),
        files(manifest.labels.sha256),
    )


def read_manifest(path: Path, split: str) -> DataManifest:
    """Read a manifest.

    Raises:
        JobFailed: ``bad-artifact``: not a manifest, or of another split.
    """
    try:
        manifest = DataManifest.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ProtocolError) as error:
        raise JobFailed("bad-artifact", "data", f"the data manifest is broken: {error}") from error
    if manifest.split != split:
        raise JobFailed(
            "bad-artifact",
            "data",
            f"the job is for split {split!r}, its manifest is of {manifest.split!r}",
        )
    return manifest


def rank_labels(
    run: Callable[[Array], Array], images: Images, progress: Callable[[float], None]
) -> Ranks:
    """The right class's rank for every image.

    Ties count as torch's ``argmax`` and ``topk`` are expected to: the lower class wins.

    Args:
        run: One normalised image -> scores, flat.
        images: The split.
        progress: Told the fraction done.
    """
    ranks = np.empty(images.manifest.n_images, dtype=np.uint16)
    for index, (image, label) in enumerate(images):
        scores = run(image)
        if scores.size != images.manifest.n_classes:
            raise JobFailed(
                "mismatch",
                "accuracy",
                f"the network gives {scores.size} scores, the data set has "
                f"{images.manifest.n_classes} classes",
            )
        ahead = int((scores > scores[label]).sum()) + int((scores[:label] == scores[label]).sum())
        # A score that is not a number is ahead of nothing: it must not count as right.
        ranks[index] = ahead if np.isfinite(scores).all() else min(scores.size, 65535)
        if index % PROGRESS_EVERY == 0:
            progress(index / images.manifest.n_images)
    return ranks


def compare(candidate: Ranks, baseline: Ranks, images: Images) -> Accuracy:
    """Counts of both, and the images only one of them gets right."""
    labels = np.asarray(images.load_labels())
    n_classes = images.manifest.n_classes
    ours, theirs = candidate == 0, baseline == 0
    return Accuracy(
        candidate=_counts(candidate, labels, n_classes),
        baseline=_counts(baseline, labels, n_classes),
        n_disagree_candidate_only=int((ours & ~theirs).sum()),
        n_disagree_baseline_only=int((theirs & ~ours).sum()),
    )


class RankCache:
    """The baseline's ranks on disk: every trial of a study would run the same again.

    Args:
        folder: Created if need be.
        key: All that decides the ranks: model, manifest, device, runtime, version, precision.
    """

    def __init__(self, folder: Path, key: tuple[str, ...]) -> None:
        name = hashlib.sha256("\0".join(key).encode("utf-8")).hexdigest()
        self._path = folder / f"{name}.npy"

    def get(self, n_images: int) -> Ranks | None:
        """The ranks, None where they are not here or not whole."""
        try:
            ranks = np.load(str(self._path), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return ranks if ranks.shape == (n_images,) and ranks.dtype == np.uint16 else None

    def put(self, ranks: Ranks) -> None:
        """Keep them; a disk that is full only costs the next job some time."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_suffix(f".{os.getpid()}.part")
            with open(str(partial), "wb") as stream:
                np.save(stream, ranks)
            os.replace(str(partial), str(self._path))
        except OSError:
            return


def _counts(ranks: Ranks, labels: npt.NDArray[np.int64], n_classes: int) -> Counts:
    return Counts(
        n_images=len(ranks),
        top1_correct=int((ranks < 1).sum()),
        top5_correct=int((ranks < 5).sum()),
        class_images=_per_class(labels, n_classes),
        class_correct=_per_class(labels[ranks < 1], n_classes),
    )


def _per_class(labels: npt.NDArray[np.int64], n_classes: int) -> tuple[int, ...]:
    return tuple(int(n) for n in np.bincount(labels, minlength=n_classes))


def _load(
    path: Path, what: str, dtype: type[np.generic], shape: tuple[int, ...]
) -> npt.NDArray[np.int64]:
    try:
        array = np.load(str(path), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise JobFailed("bad-artifact", "accuracy", f"{what} is no .npy file: {error}") from error
    if array.dtype != dtype or array.shape != shape:
        raise JobFailed(
            "bad-artifact",
            "accuracy",
            f"{what} holds {array.dtype} {array.shape}, {np.dtype(dtype).name} {shape} was wanted",
        )
    loaded: npt.NDArray[np.int64] = array
    return loaded
