"""What each `type` of a problem document means, at the address that it is.

Depends on: fastapi.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import getdoc

from fastapi.responses import PlainTextResponse

from stillhouse_service.errors import NotFound, ServiceError
from stillhouse_service.routes.access import OPEN
from stillhouse_service.routes.context import problems
from stillhouse_service.routes.router import Router

router = Router(tags=["server"])

# Refusals that are no ServiceError: slug -> status and meaning.
_OTHERS: Mapping[str, tuple[int, str]] = {
    "invalid-request": (422, "The request does not fit its schema; `problems` names every place."),
    "method-not-allowed": (405, "The address exists, and does not take this method."),
    "http": (400, "The request is no HTTP that this server understands."),
    "database-unavailable": (503, "The database is busy or gone: try again after `Retry-After` s."),
    "store-unavailable": (503, "The artifact store is full: try again after `Retry-After` s."),
    "internal": (500, "The server failed on this request; its log has the reason."),
}


def meanings() -> dict[str, tuple[int, str]]:
    """Give status and meaning of every type of problem, by its slug."""
    found = dict(_OTHERS)
    left = list(ServiceError.__subclasses__())
    while left:
        one = left.pop()
        left += one.__subclasses__()
        found[one.slug] = (one.status, (getdoc(one) or "").split("\n")[0])
    return dict(sorted(found.items()))


@router.get(
    "/problems/{slug}",
    response_class=PlainTextResponse,
    responses=problems(404),
    dependencies=[OPEN],
)
def show_problem(slug: str) -> str:
    """Say what a problem document of this `type` means."""
    if slug not in (known := meanings()):
        raise NotFound(f"no problem {slug!r}; there are {', '.join(known)}")
    status, meaning = known[slug]
    return f"/problems/{slug} (HTTP {status})\n\n{meaning}\n"
