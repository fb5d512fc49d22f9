"""The page: what a browser gets, as files; no build step, nothing from other hosts.

Depends on: the standard library. Plain ES modules and style sheets beside this file, one noun each;
`main.js` says which address is drawn by which.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

# Scripts, styles and requests of this server alone, and none written into the page.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class PageFile:
    """A file of the page.

    Attributes:
        content: Its bytes.
        media_type: What it is.
        etag: Changes when its content does.
    """

    content: bytes
    media_type: str
    etag: str


def read_files() -> dict[str, PageFile]:
    """Read every file of the page, by name."""
    return {
        path.name: _file(path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(FOLDER.iterdir())
        if path.suffix in _TYPES
    }


def read_shell() -> PageFile:
    """Read the document that every address of the page begins with.

    It names all modules, so that a browser asks for them at once instead of one after another.
    """
    links = "\n".join(
        f'<link rel="modulepreload" href="/page/{path.name}">'
        for path in sorted(FOLDER.glob("*.js"))
    )
    text = (FOLDER / "index.html").read_text(encoding="utf-8")
    return _file(text.replace("<!-- modules -->", links).encode(), "text/html; charset=utf-8")


def _file(content: bytes, media_type: str) -> PageFile:
    return PageFile(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
