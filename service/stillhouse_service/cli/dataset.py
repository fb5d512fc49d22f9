"""`stillhouse dataset`: what data this machine has.

Depends on: typer, rich; stillhouse_compression, which is imported when it is asked for. Works on
this machine's disk, not over REST: paths are the operator's business.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from stillhouse_service.errors import Problem, SpecRejected

app = typer.Typer(
    no_args_is_help=True,
    help="Data sets of this machine; run it on the server and on each compute worker.",
)


@app.command("list")
def list_datasets() -> None:
    """List the data sets whose files are here."""
    from stillhouse_compression import datasets
    from stillhouse_compression.errors import CompressionError

    table = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("name", "classes", "images", "description"):
        table.add_column(column)
    try:
        for info in datasets.available():
            images = ", ".join(f"{split} {n:,}" for split, n in info.splits.items())
            table.add_row(info.name, str(info.n_classes), images, info.description)
    except CompressionError as error:
        _refuse("datasets.json", error)
    Console().print(table)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What studies shall call it, such as imagenet.")],
    source: Annotated[str, typer.Argument(help="folder:PATH or npz:PATH.")],
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out images that do not decode.")
    ] = False,
) -> None:
    """Name images of this disk, after looking at each."""
    from stillhouse_compression import datasets
    from stillhouse_compression.datasets.registered import read_registered
    from stillhouse_compression.errors import CompressionError

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    try:
        with bar:
            task = bar.add_task("decoding", total=None)
            info = datasets.add(
                name,
                source,
                skip_bad,
                lambda n_done, n_all: bar.update(task, completed=n_done, total=n_all),
            )
    except CompressionError as error:
        _refuse(source, error)
    images = ", ".join(f"{split} {n:,}" for split, n in info.splits.items())
    typer.echo(f"{name}: {info.n_classes} classes; {images}")
    for path in read_registered(datasets.data_folder())[name].skipped:
        typer.echo(f"left out, does not decode: {path}")


@app.command()
def remove(name: Annotated[str, typer.Argument(help="A name that `add` gave.")]) -> None:
    """Take a name away; the images stay where they are."""
    from stillhouse_compression import datasets
    from stillhouse_compression.errors import CompressionError

    try:
        datasets.remove(name)
    except CompressionError as error:
        _refuse(name, error)


@app.command()
def download(
    name: Annotated[str, typer.Argument(help="cifar10 or cifar100.")],
    url: Annotated[str | None, typer.Option(help="A mirror; the checksum stays.")] = None,
) -> None:
    """Fetch an original archive into the data folder, if it is not there, and check it."""
    from stillhouse_compression import datasets
    from stillhouse_compression.datasets.cifar import ARCHIVES
    from stillhouse_compression.datasets.download import download as fetch
    from stillhouse_compression.errors import CompressionError

    if name not in ARCHIVES:
        _refuse(name, f"there is no download of it; there are: {', '.join(ARCHIVES)}")
    archive = ARCHIVES[name]
    path = datasets.data_folder() / archive.filename
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    try:
        with bar:
            task = bar.add_task(archive.filename, total=None)
            is_new = fetch(
                url or archive.url,
                path,
                archive.md5,
                lambda n_bytes, n_total: bar.update(task, completed=n_bytes, total=n_total),
            )
    except CompressionError as error:
        _refuse(name, error)
    typer.echo(f"{path}: {'downloaded' if is_new else 'already here'}, checksum right")


@app.command("unpack-imagenet")
def unpack_imagenet(
    archives: Annotated[Path, typer.Argument(help="Folder of the three ILSVRC2012 archives.")],
    to: Annotated[Path, typer.Argument(help="Folder to lay the images out in.")],
) -> None:
    """Lay ImageNet's original archives out as class folders, for `add imagenet folder:TO`."""
    from stillhouse_compression.datasets.ilsvrc import unpack_imagenet as unpack
    from stillhouse_compression.errors import CompressionError

    bar = Progress(
        TextColumn("{task.description} {task.completed:,}"),
        console=Console(stderr=True),
        transient=True,
    )
    try:
        with bar:
            task = bar.add_task("images", total=None)
            n_images = unpack(
                archives, to, progress=lambda n_done: bar.update(task, completed=n_done)
            )
    except CompressionError as error:
        _refuse(str(archives), error)
    typer.echo(f"{n_images:,} images in {to}")


def _refuse(path: str, message: object) -> NoReturn:
    raise SpecRejected([Problem(path, str(message))])
