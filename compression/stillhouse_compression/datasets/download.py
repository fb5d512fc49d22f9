"""Fetches an archive and keeps it only if it is the right one.

Depends on: the standard library.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from stillhouse_compression.errors import CompressionError

_PIECE_BYTES = 1 << 20
_SILENCE_S = 60.0


def download(
    url: str,
    path: Path,
    md5: str,
    progress: Callable[[int, int | None], None] = lambda n_bytes, n_total: None,
) -> bool:
    """Download a file, unless it is there already.

    It is written beside its place and put there once its checksum was right.

    Args:
        url: ``http://`` or ``https://``.
        path: Where it shall lie; its folder is made.
        md5: Of the file, as its site states it.
        progress: Told bytes so far and in all (None where the site does not say).

    Returns:
        Whether anything was downloaded.

    Raises:
        CompressionError: No answer, another answer than the file, or another file.
    """
    if path.is_file() and md5_of(path) == md5:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    by_hand = f"download it by hand and put it at {path}"
    digest = hashlib.md5(usedforsecurity=False)
    n_bytes = 0
    try:
        with urllib.request.urlopen(url, timeout=_SILENCE_S) as answer, part.open("wb") as file:
            length = answer.headers.get("Content-Length")
            n_total = int(length) if length else None
            while piece := answer.read(_PIECE_BYTES):
                file.write(piece)
                digest.update(piece)
                n_bytes += len(piece)
                progress(n_bytes, n_total)
        if n_total is not None and n_bytes != n_total:
            raise CompressionError(
                f"{url} ended after {n_bytes} of {n_total} bytes: try again, or {by_hand}"
            )
        if digest.hexdigest() != md5:
            raise CompressionError(
                f"{url} is another file than wanted: its MD5 is {digest.hexdigest()}, wanted "
                f"{md5}; try again, or {by_hand}"
            )
        part.replace(path)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise CompressionError(f"{url} cannot be downloaded: {error}; {by_hand}") from error
    finally:
        part.unlink(missing_ok=True)
    return True


def md5_of(path: Path) -> str:
    """MD5 of a file, in hexadecimal."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
