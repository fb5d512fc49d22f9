"""One database, one artifact store: each bears the other's name.

Depends on: the store. Several servers of one Postgres share one store; one that was given another
folder, or a folder that is not mounted on its machine, would lack what the others have written.
"""

from __future__ import annotations

from stillhouse_service.artifact_places import Place
from stillhouse_service.errors import Conflict
from stillhouse_service.store import Store

_NAME = "installation/id"


def claim(store: Store, place: Place) -> None:
    """Make sure that an artifact store is the one of this database; the first one becomes it.

    Raises:
        Conflict: It is another database's, or this one has another.
    """
    with store.begin("server") as work:  # of two that start at once, one is first
        row = work.drivers.row()
        try:
            found = place.read(_NAME).decode(errors="replace").strip()
        except FileNotFoundError:
            found = None
        if found is None and not row.is_store_marked:
            place.write(_NAME, f"{row.installation}\n".encode())
        elif found is None:
            raise Conflict(
                f"the artifact store {place.address} lacks {_NAME}, so that it is not the one that "
                "this database's files are in: name that one, the same for every server (a shared "
                "folder or a URL), or copy all of it here"
            )
        elif found != row.installation:
            raise Conflict(
                f"the artifact store {place.address} is another database's: name this one's own"
            )
        row.is_store_marked = True
