"""Data sets of this machine's disk that its operator has given a name.

Depends on: numpy. Over REST only names travel: which path a name means is written down here, in
`datasets.json` of the data folder, on the server and on each of its compute workers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from stillhouse_compression.errors import CompressionError

FILENAME = "datasets.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Registered:
    """One named data set, known without reading its images.

    Attributes:
        source: ``folder:<path>`` or ``npz:<path>``, an absolute path.
        description: One sentence.
        n_classes: Labels are 0..n_classes - 1.
        shape: (channels, height, width) that a network sees.
        splits: Split name -> number of images.
        skips_bad: Whether images that do not decode are left out.
        skipped: Those that were.
    """

    source: str
    description: str
    n_classes: int
    shape: tuple[int, int, int]
    splits: Mapping[str, int]
    skips_bad: bool = False
    skipped: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where its images are."""
        return Path(self.source.partition(":")[2])


def read_registered(data_folder: Path) -> dict[str, Registered]:
    """Read all named data sets.

    Raises:
        CompressionError: The file is there and cannot be used.
    """
    path = data_folder / FILENAME
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CompressionError(f"{path} cannot be read: {error}") from error
    try:
        found = json.loads(text)
        return {
            name: Registered(
                **entry
                | {"shape": tuple(entry["shape"]), "skipped": tuple(entry.get("skipped", ()))}
            )
            for name, entry in found.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CompressionError(
            f"{path} is damaged ({error}): remove it and add the data sets again"
        ) from error


def write_registered(data_folder: Path, name: str, entry: Registered | None) -> None:
    """Add, replace or (None) remove a named data set.

    Raises:
        CompressionError: The name cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise CompressionError(
            f"a data set's name has small letters, digits, '_', '-' and '.', got {name!r}"
        )
    known = read_registered(data_folder)
    known.pop(name, None)
    if entry is not None:
        known[name] = entry
    data_folder.mkdir(parents=True, exist_ok=True)
    path = data_folder / FILENAME
    new = path.with_name(FILENAME + ".new")
    new.write_text(json.dumps({one: asdict(value) for one, value in known.items()}, indent=2))
    new.replace(path)
