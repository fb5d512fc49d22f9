"""The page over HTTP: one document for each of its addresses, and the files that it loads.

Depends on: fastapi. Open to everybody: it tells nothing; what it shows it asks for, with a token.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated

from fastapi import Header, Response

from stillhouse_service import page
from stillhouse_service.errors import NotFound
from stillhouse_service.routes.access import OPEN
from stillhouse_service.routes.router import Router

router = Router(include_in_schema=False)
_HEADERS = {
    "Content-Security-Policy": page.POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_shell = cache(page.read_shell)
_files = cache(page.read_files)
Known = Annotated[str, Header(alias="If-None-Match")]


def _answer(file: page.PageFile, known: str) -> Response:
    headers = {**_HEADERS, "ETag": file.etag}
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


@router.get("/", dependencies=[OPEN])
@router.get("/new", dependencies=[OPEN])
@router.get("/devices", dependencies=[OPEN])
@router.get("/compare", dependencies=[OPEN])
@router.get("/studies/{study_id}", dependencies=[OPEN])
@router.get("/trials/{trial_id}", dependencies=[OPEN])
def show_page(known: Known = "") -> Response:
    """Give the document; which address it is, it reads itself."""
    return _answer(_shell(), known)


@router.get("/page/{name}", dependencies=[OPEN])
def show_file(name: str, known: Known = "") -> Response:
    """Give a file of the page.

    Raises:
        NotFound: The page has no such file.
    """
    file = _files().get(name)
    if file is None:
        raise NotFound(f"the page has no file {name!r}")
    return _answer(file, known)
