"""Class folders as ImageNet has them, named data sets, downloads: real files, a real server."""

import functools
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import scipy.io  # type: ignore[import-untyped]  # ships no types
import torch

from stillhouse_compression import datasets
from stillhouse_compression.datasets import Augmentation, ilsvrc
from stillhouse_compression.datasets.download import download
from stillhouse_compression.datasets.registered import read_registered
from stillhouse_compression.errors import CompressionError
from stillhouse_compression.train import Images

Image: Any = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
COLOURS = {"n01440764": (250, 10, 10), "n01443537": (10, 250, 10)}


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STILLHOUSE_DATA_DIR", str(tmp_path / "data"))
    datasets.load.cache_clear()
    return tmp_path / "data"


def imagenet(root: Path, n_train: int = 5, n_val: int = 2) -> Path:
    """A tree as the extracted original has it: JPEGs in folders of WordNet's ids."""
    for part, n in (("train", n_train), ("val", n_val)):
        for wnid, colour in COLOURS.items():
            folder = root / part / wnid
            folder.mkdir(parents=True)
            for i in range(n):
                # Wide and tall ones; the middle is the class's colour, the ends are black.
                size = (300, 200) if i % 2 else (200, 300)
                image = Image.new("RGB", size, (0, 0, 0))
                image.paste(colour, (50, 50, size[0] - 50, size[1] - 50))
                image.save(folder / f"{wnid}_{i}.JPEG", quality=95)
    return root


def test_imagenets_folders_become_three_splits(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "imagenet")
    info = datasets.add("imagenet", f"folder:{root}")
    # 15 % of ten training images are validation, rounded down; `val` is the test split.
    assert dict(info.splits) == {"train": 9, "validation": 1, "test": 4}
    data = datasets.load("imagenet")
    assert data.images["train"].shape[1:] == (3, 256, 256)
    assert data.images["test"].shape == (4, 3, 224, 224)
    assert data.labels["test"].tolist() == [0, 0, 1, 1]  # sorted by the folders' names
    middle = data.images["test"][:, :, 112, 112]
    assert np.abs(middle[0].astype(int) - COLOURS["n01440764"]).max() < 12  # JPEG is not exact
    assert np.abs(middle[3].astype(int) - COLOURS["n01443537"]).max() < 12
    assert data.mean == (0.485, 0.456, 0.406)  # ImageNet's, not these images'
    assert datasets.load("imagenet").split_hash == data.split_hash
    assert "imagenet" in [one.name for one in datasets.available()]


def test_images_of_a_folder_are_mapped_and_cropped(tmp_path: Path) -> None:
    datasets.add("mine", f"folder:{imagenet(tmp_path / 'f')}")
    images = Images(datasets.load("mine"), "train", torch.device("cpu"))
    assert images.is_mapped
    parts = [torch.tensor([3, 0]), torch.tensor([1])]
    for found, part in zip(images.fetched(parts), parts, strict=True):
        assert torch.equal(found, images.take(part))
    assert images.example().shape == (1, 3, 224, 224)
    assert next(x.shape[2:] for x, _ in images.batches(4)) == (224, 224)


def test_a_crop_lies_anywhere_within_the_image_and_is_seeded() -> None:
    image = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8).repeat(200, 1, 1, 1)
    cut = Augmentation(crop=6)
    first = cut.apply(image, torch.Generator().manual_seed(1))
    assert first.shape == (200, 1, 6, 6)
    corners = set(first[:, 0, 0, 0].tolist())
    assert corners == {0, 1, 2, 8, 9, 10, 16, 17, 18}
    assert torch.equal(first, cut.apply(image, torch.Generator().manual_seed(1)))
    assert cut.centre(image)[0, 0, 0, 0] == 9


def test_images_that_do_not_decode_are_counted_named_and_skipped_only_on_demand(
    tmp_path: Path, data_folder: Path
) -> None:
    root = imagenet(tmp_path / "f")
    (root / "train" / "n01440764" / "bad.JPEG").write_bytes(b"no image")
    whole = (root / "val" / "n01443537" / "n01443537_0.JPEG").read_bytes()
    (root / "val" / "n01443537" / "cut.JPEG").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CompressionError, match=r"2 of 16 images .*bad\.JPEG.*--skip-bad"):
        datasets.add("mine", f"folder:{root}")
    assert read_registered(data_folder) == {}
    assert list((data_folder / "decoded").iterdir()) == []
    info = datasets.add("mine", f"folder:{root}", skips_bad=True)
    assert sum(info.splits.values()) == 14
    assert "2 that do not decode are left out" in info.description
    skipped = read_registered(data_folder)["mine"].skipped
    assert {Path(path).name for path in skipped} == {"bad.JPEG", "cut.JPEG"}
    assert len(datasets.load("mine").labels["test"]) == 4


def test_a_folder_that_changed_since_it_was_added_is_not_used(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "f")
    datasets.add("mine", f"folder:{root}")
    new = root / "train" / "n01440764" / "new.png"
    Image.new("RGB", (30, 30)).save(new)
    with pytest.raises(CompressionError, match="`stillhouse dataset add` it again"):
        datasets.load("mine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "val" / "n01443537").rename(root / "val" / "n9"), "is missing"),
        (lambda root: (root / "train").rename(root / "trian"), "folder"),
    ],
)
def test_folders_that_do_not_fit_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    root = imagenet(tmp_path / "f")
    change(root)
    if message == "is missing":
        with pytest.raises(CompressionError, match=message):
            datasets.dataset_info(f"folder:{root}")
    else:  # without a part called train, its folders are the classes
        assert datasets.dataset_info(f"folder:{root}").n_classes == 2


def test_no_folder_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CompressionError, match="is no folder"):
        datasets.dataset_info(f"folder:{tmp_path / 'none'}")
    with pytest.raises(CompressionError, match="0 class folders"):
        datasets.dataset_info(f"folder:{tmp_path}")


def test_names_are_checked_and_taken_away_again(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        images=np.zeros((9, 1, 4, 4), dtype=np.uint8),
        labels=np.arange(9) % 3,
    )
    source = f"npz:{tmp_path / 'a.npz'}"
    for name, message in (("digits", "already"), ("../x", "small letters")):
        with pytest.raises(CompressionError, match=message):
            datasets.add(name, source)
    with pytest.raises(CompressionError, match="wanted folder:<path> or npz:<path>"):
        datasets.add("mine", "zip:/x")
    assert datasets.add("mine", source).n_classes == 3
    assert datasets.load("mine").images["train"].shape[1:] == (1, 4, 4)
    datasets.remove("mine")
    with pytest.raises(CompressionError, match="no data set 'mine'"):
        datasets.dataset_info("mine")


def test_a_damaged_list_of_names_says_so(data_folder: Path) -> None:
    data_folder.mkdir()
    (data_folder / "datasets.json").write_text('{"a": 3}')
    with pytest.raises(CompressionError, match="is damaged"):
        datasets.available()


def _archive(path: Path, files: Mapping[str, bytes], mode: Literal["w", "w:gz"] = "w") -> str:
    """Write a tar of files; returns its MD5."""
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _jpeg(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (260, 260), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def originals(folder: Path) -> tuple[ilsvrc.Archive, ilsvrc.Archive, ilsvrc.Archive]:
    """The three archives of ILSVRC 2012 in their formats, with two classes and few images.

    In the kit, a class's number is not its place among the sorted ids, and a node above the
    classes follows them.
    """
    wnids = list(COLOURS)
    inner = {}
    for wnid, colour in COLOURS.items():
        _archive(folder / "inner", {f"{wnid}_{i}.JPEG": _jpeg(colour) for i in range(4)})
        inner[f"{wnid}.tar"] = (folder / "inner").read_bytes()
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O")]
    synsets = np.zeros(3, dtype=[*fields, ("num_children", "O"), ("children", "O")])
    for row, (number, wnid, n_children) in enumerate(
        [(1, wnids[1], 0), (2, wnids[0], 0), (1001, "n00001740", 2)]
    ):
        synsets[row] = (number, wnid, "words", "gloss", n_children, np.arange(n_children))
    meta = io.BytesIO()
    scipy.io.savemat(meta, {"synsets": synsets[:, None]})
    kit = {
        "ILSVRC2012_devkit_t12/data/meta.mat": meta.getvalue(),
        "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": b"2\n1\n2\n",
    }
    by_number = {1: COLOURS[wnids[1]], 2: COLOURS[wnids[0]]}
    val = {
        f"ILSVRC2012_val_{i:08d}.JPEG": _jpeg(by_number[number])
        for i, number in enumerate((2, 1, 2), start=1)
    }
    return (
        replace(ilsvrc.TRAIN, md5=_archive(folder / ilsvrc.TRAIN.filename, inner)),
        replace(ilsvrc.VAL, md5=_archive(folder / ilsvrc.VAL.filename, val)),
        replace(ilsvrc.DEVKIT, md5=_archive(folder / ilsvrc.DEVKIT.filename, kit, "w:gz")),
    )


def test_imagenets_original_archives_are_laid_out_and_read(tmp_path: Path) -> None:
    known = originals(tmp_path)
    root = tmp_path / "laid-out"
    assert ilsvrc.unpack_imagenet(tmp_path, root, known) == 11
    datasets.add("imagenet", f"folder:{root}")
    data = datasets.load("imagenet")
    colours = list(COLOURS.values())
    assert data.labels["test"].tolist() == [0, 0, 1]
    for split in data.images:
        for image, label in zip(data.images[split], data.labels[split], strict=True):
            assert np.abs(image[:, 100, 100].astype(int) - colours[label]).max() < 12


def test_an_archive_of_imagenet_that_is_not_the_original_is_refused(tmp_path: Path) -> None:
    known = originals(tmp_path)
    with pytest.raises(CompressionError, match=f"wanted {ilsvrc.TRAIN.md5}"):
        ilsvrc.unpack_imagenet(tmp_path, tmp_path / "to")
    (tmp_path / ilsvrc.VAL.filename).unlink()
    with pytest.raises(CompressionError, match=r"img_val\.tar is not there"):
        ilsvrc.unpack_imagenet(tmp_path, tmp_path / "to", known)
    assert not (tmp_path / "to").exists()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server with the files of a folder."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            return None

    with ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", folder
        server.shutdown()
        thread.join()


def test_a_download_is_kept_only_with_the_right_checksum(
    site: tuple[str, Path], tmp_path: Path
) -> None:
    url, folder = site
    content = bytes(range(256)) * 20_000
    (folder / "a.tar.gz").write_bytes(content)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    path = tmp_path / "to" / "a.tar.gz"
    with pytest.raises(CompressionError, match="another file than wanted"):
        download(f"{url}/a.tar.gz", path, "0" * 32)
    assert list(path.parent.iterdir()) == []
    told: list[tuple[int, int | None]] = []
    assert download(f"{url}/a.tar.gz", path, md5, lambda n, total: told.append((n, total)))
    assert path.read_bytes() == content
    assert told[-1] == (len(content), len(content))
    assert not download("http://127.0.0.1:9/none", path, md5)  # it is there: nobody is asked


def test_a_download_without_an_answer_says_what_to_do(
    site: tuple[str, Path], tmp_path: Path
) -> None:
    for url in (f"{site[0]}/none.tar.gz", "http://127.0.0.1:9/x"):
        with pytest.raises(CompressionError, match=r"cannot be downloaded: .* put it at"):
            download(url, tmp_path / "a.tar.gz", "0" * 32)


def test_the_archives_say_how_to_get_them(tmp_path: Path) -> None:
    from stillhouse_compression.datasets.cifar import ARCHIVES, read_cifar

    assert list(ARCHIVES) == ["cifar10", "cifar100"]
    archive = replace(ARCHIVES["cifar100"], filename="x.tar.gz")
    with pytest.raises(CompressionError, match="stillhouse dataset download cifar100"):
        read_cifar(archive, tmp_path)
