"""Routes run in one piece, and tokens are remembered for a moment."""

import inspect
import time
from typing import Any

from fastapi.routing import APIRoute

from stillhouse_service.guard import REMEMBERED_S


def test_every_plain_route_runs_in_one_piece(server: Any) -> None:
    """A route of an `APIRouter` of FastAPI's would get no transaction."""
    nested = [getattr(one, "original_router", None) for one in server.app.routes]
    every = [*server.app.routes, *(one for router in nested if router for one in router.routes)]
    routes = [one for one in every if isinstance(one, APIRoute)]
    assert len(routes) > 40
    loose = {
        one.path
        for one in routes
        if not inspect.iscoroutinefunction(one.endpoint)
        and not hasattr(one.endpoint, "__wrapped__")
    }
    assert loose == set()


def test_a_token_revoked_by_another_process_is_soon_refused(server: Any, run: Any) -> None:
    url = server.settings.database_url
    tokens = []
    for name in ("kept", "revoked"):
        status, said, _ = run("token", "create", name, "--scope", "read", "--database", url)
        assert status == 0
        tokens.append(said.strip())

    def status_of(token: str | None) -> int:
        shown = {} if token is None else {"Authorization": f"Bearer {token}"}
        return int(server.http.get("/v1/studies", headers=shown).status_code)

    def wait_for(status: int, token: str | None) -> None:
        deadline = time.monotonic() + 20 * REMEMBERED_S
        while status_of(token) != status:
            assert time.monotonic() < deadline, f"never answered {status}"
            time.sleep(0.05)

    wait_for(401, None)  # until then nobody needed one
    assert [status_of(token) for token in tokens] == [200, 200]
    with server.store.read() as view:
        (row,) = [one for one in view.tokens.all() if one.name == "revoked"]
    assert run("token", "revoke", row.id, "--database", url)[0] == 0
    wait_for(401, tokens[1])
    assert status_of(tokens[0]) == 200
