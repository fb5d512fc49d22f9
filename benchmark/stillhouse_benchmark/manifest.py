"""Files by content, and the images a network is judged on.

Depends on: the standard library. Imported through protocol.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from stillhouse_benchmark.errors import ProtocolError
from stillhouse_benchmark.wire import Fields, Message, count_item, number_item

SPLITS = ("validation", "test")


@dataclass(frozen=True)
class File(Message):
    """A file by its content.

    Attributes:
        sha256: Hash of the content, 64 lower-case hex digits.
        bytes: Its length.
    """

    sha256: str
    bytes: int

    @classmethod
    def from_json(cls, value: object, path: str = "file") -> File:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(sha256=get.sha256("sha256"), bytes=get.integer("bytes"))


@dataclass(frozen=True)
class Shard(Message):
    """A part of a data set: ``.npy`` uint8 of shape (n_images, channels, height, width)."""

    sha256: str
    bytes: int
    n_images: int

    @property
    def file(self) -> File:
        """The shard as a file."""
        return File(self.sha256, self.bytes)

    @classmethod
    def from_json(cls, value: object, path: str = "shard") -> Shard:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        return cls(
            sha256=get.sha256("sha256"),
            bytes=get.integer("bytes"),
            n_images=get.integer("n_images", low=1),
        )


@dataclass(frozen=True)
class DataManifest(Message):
    """The images a network is judged on, itself a JSON file named by its hash.

    Attributes:
        dataset: The data set's name.
        split: Of ``SPLITS``.
        split_hash: Names the split's membership.
        n_images: Images in all shards together.
        n_classes: Classes; labels lie in [0, n_classes).
        shape: (channels, height, width).
        mean: One per channel, of pixels scaled to 0..1: ``x = (pixel / 255 - mean) / std``.
        std: One per channel, above 0.
        shards: In the labels' order.
        labels: ``.npy`` int64 of shape (n_images,).
    """

    dataset: str
    split: str
    split_hash: str
    n_images: int
    n_classes: int
    shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shards: tuple[Shard, ...]
    labels: File

    @classmethod
    def from_json(cls, value: object, path: str = "manifest") -> DataManifest:
        """Read, or raise ``ProtocolError``."""
        get = Fields(value, path)
        manifest = cls(
            dataset=get.text("dataset"),
            split=get.text("split", one_of=SPLITS),
            split_hash=get.text("split_hash"),
            n_images=get.integer("n_images", low=1),
            n_classes=get.integer("n_classes", low=2),
            shape=get.each("shape", count_item),
            mean=get.each("mean", number_item),
            std=get.each("std", number_item),
            shards=get.each("shards", Shard.from_json),
            labels=File.from_json(get.get("labels"), f"{path}.labels"),
        )
        if len(manifest.shape) != 3 or min(manifest.shape) < 1:
            raise ProtocolError(f"{path}.shape", f"must be (C, H, W), got {manifest.shape}")
        for name in ("mean", "std"):
            if len(getattr(manifest, name)) != manifest.shape[0]:
                raise ProtocolError(f"{path}.{name}", f"must have {manifest.shape[0]} numbers")
        if min(manifest.std) <= 0.0:
            raise ProtocolError(f"{path}.std", f"must be above 0, got {manifest.std}")
        n_images = sum(shard.n_images for shard in manifest.shards)
        if n_images != manifest.n_images:
            raise ProtocolError(
                f"{path}.shards", f"hold {n_images} images, n_images says {manifest.n_images}"
            )
        return manifest
