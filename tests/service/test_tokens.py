"""Who may do what: tokens over real HTTP, on the command line, and every route's scope."""

import logging
import time
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from stillhouse import Client, ProblemError
from stillhouse_service import guard, tokens
from stillhouse_service.errors import Conflict
from stillhouse_service.routes.access import allowed, anyone
from stillhouse_service.server import serve as serve_until_told
from stillhouse_service.settings import Settings
from stillhouse_service.tables import TokenRow

PAGE = {
    "/",
    "/new",
    "/devices",
    "/compare",
    "/studies/{study_id}",
    "/trials/{trial_id}",
    "/page/{name}",
}
OPEN = {"/healthz", "/readyz", "/problems/{slug}"} | PAGE


def _make(server: Any, *scopes: str, **more: Any) -> str:
    with server.store.begin() as work:
        return tokens.create(work, f"a {scopes[0]}er", scopes, **more)[1]


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _routes(server: Any) -> list[APIRoute]:
    nested = [getattr(one, "original_router", None) for one in server.app.routes]
    every = [*server.app.routes, *(one for router in nested if router for one in router.routes)]
    found = [one for one in every if isinstance(one, APIRoute)]
    assert len(found) > 20
    return found


def _scopes(dependant: Dependant) -> list[str] | None:
    """Scopes that a route wants: none where it declares nothing, empty where it is open."""
    for one in dependant.dependencies:
        if one.call is anyone:
            return []
        if one.call is allowed:
            return list(one.own_oauth_scopes or [])
    return None


def test_every_route_declares_its_scope(server: Any) -> None:
    for route in _routes(server):
        scopes = _scopes(route.dependant)
        assert scopes is not None, f"{route.path} declares no scope"
        assert (scopes == []) == (route.path in OPEN), route.path
        if "POST" in (route.methods or ()):
            assert scopes in (["write"], ["worker"], ["admin"]), route.path


def test_without_tokens_a_server_on_loopback_lets_everybody_in(server: Any) -> None:
    assert server.http.get("/v1/studies").status_code == 200


def test_with_a_token_made_nobody_comes_in_without_one(server: Any) -> None:
    _make(server, "read")
    for route in _routes(server):
        if route.path in OPEN:
            continue
        method = min(route.methods or ())
        answer = server.http.request(method, route.path.replace("{", "").replace("}", ""))
        assert answer.status_code == 401, route.path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["type"] == "/problems/unauthorized"
    assert server.http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("scope", "allowed_here"),
    [
        ("read", {"read"}),
        ("write", {"read", "write"}),
        ("worker", {"worker"}),
        ("admin", {"read", "write", "worker", "admin"}),
    ],
)
def test_a_token_opens_the_routes_of_its_scope_and_no_other(
    server: Any, scope: str, allowed_here: set[str]
) -> None:
    headers = _bearer(_make(server, scope))
    for route in _routes(server):
        method = min(route.methods or ())
        path = route.path.replace("{", "").replace("}", "")
        answer = server.http.request(method, path, headers=headers)
        wanted = set(_scopes(route.dependant) or [])
        is_let_in = not wanted or bool(wanted & allowed_here)
        assert (answer.status_code != 403) == is_let_in, (route.path, answer.text)
        assert answer.status_code < 500


def test_a_revoked_or_outlived_token_opens_nothing(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "REMEMBERED_S", 3600.0)  # neither waits for it to be forgotten
    token = _make(server, "read")
    _make(server, "admin")
    assert server.http.get("/v1/studies", headers=_bearer(token)).status_code == 200
    with server.store.begin() as work:
        row = next(row for row in work.tokens.all() if row.scopes == ["read"])
        tokens.revoke(work, row.id)
    assert server.http.get("/v1/studies", headers=_bearer(token)).status_code == 401
    short = _make(server, "read", days=1e-6)  # 0.09 s
    ends_at = time.monotonic() + 20
    while server.http.get("/v1/studies", headers=_bearer(short)).status_code == 200:
        assert time.monotonic() < ends_at, "a token that has run out is still remembered"
        time.sleep(0.02)  # hotter, and the answer is 429
    assert server.http.get("/v1/studies", headers=_bearer(short)).status_code == 401
    assert server.http.get("/v1/studies", headers=_bearer("shs_guessed")).status_code == 401


def test_a_token_is_stored_as_its_hash_and_logged_nowhere(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        token = _make(server, "admin")
        server.http.get("/v1/studies", headers=_bearer(token))
        server.http.get("/v1/nowhere", headers=_bearer(token))
    assert token not in caplog.text
    with Session(server.store._writing.kw["bind"]) as session:
        (row,) = session.scalars(select(TokenRow))
        dump = "\n".join(str(line) for line in session.execute(text("SELECT * FROM token")))
        dump += "\n".join(str(line) for line in session.execute(text("SELECT * FROM event")))
    assert row.sha256 in dump
    assert token not in dump


def test_an_administrator_makes_and_ends_tokens_and_reads_who_did_what(server: Any) -> None:
    headers = _bearer(_make(server, "admin"))
    body = {"name": "anna", "scopes": ["write"], "days": 7}
    made = server.http.post("/v1/tokens", json=body, headers=headers)
    assert made.status_code == 201
    assert made.json()["token"].startswith("shs_")
    listed = server.http.get("/v1/tokens", headers=headers).json()["items"]
    assert "token" not in listed[0] and len(listed) == 2
    with Client(server.url, token=made.json()["token"]) as anna:
        baseline = anna.baselines.create("resnet20_cifar", "digits").id
    assert (
        server.http.post(f"/v1/tokens/{made.json()['id']}/revoke", headers=headers).status_code
        == 200
    )
    with (
        Client(server.url, token=made.json()["token"]) as anna,
        pytest.raises(ProblemError, match="revoked"),
    ):
        anna.baselines.list()
    events = server.http.get("/v1/events?page_size=1000", headers=headers).json()["items"]
    by_anna = [event for event in events if event["who"] == "anna"]
    assert [event["subject"] for event in by_anna] == [baseline]
    of_token = [event for event in events if event["subject"] == made.json()["id"]]
    assert [(e["kind"], e["after"], e["who"]) for e in of_token] == [
        ("token", "live", "a adminer"),
        ("token", "revoked", "a adminer"),
    ]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": "x", "scopes": ["owner"]}, "scopes[0]"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "", "scopes": ["read"]}, "name"),
        ({"name": "x", "scopes": ["read"], "days": 0}, "days"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused_with_the_place(
    server: Any, body: Any, path: str
) -> None:
    answer = server.http.post("/v1/tokens", json=body)
    assert answer.status_code == 422
    assert path in [problem["path"] for problem in answer.json()["problems"]]


def test_the_client_takes_its_token_from_the_environment(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLHOUSE_TOKEN", _make(server, "read"))
    with Client(server.url) as client:
        assert list(client.studies.list()) == []


def test_tokens_are_made_listed_and_revoked_from_the_command_line(server: Any, run: Any) -> None:
    where = ("--database", server.settings.database_url)
    status, said, _ = run("token", "create", "bob", "--scope", "read", *where)
    token = said.strip()
    assert status == 0
    assert server.http.get("/v1/studies", headers=_bearer(token)).status_code == 200
    assert server.http.get("/v1/studies").status_code == 401
    status, said, _ = run("token", "list", *where)
    assert "bob" in said and "live" in said and token not in said
    token_id = said.split()[5]
    assert run("token", "revoke", token_id, *where)[0] == 0
    assert "revoked" in run("token", "list", *where)[1]
    status, _, said = run("token", "create", "bob", "--scope", "owner", *where)
    assert status == 2 and "no scope 'owner'" in said


def test_a_server_does_not_listen_to_others_before_a_token_is_made(tmp_path: Any) -> None:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/s.db", artifact_dir=tmp_path / "a", host="0.0.0.0"
    )
    with pytest.raises(Conflict, match="stillhouse token create"):
        serve_until_told(settings)


def test_beyond_loopback_the_last_revoked_token_does_not_open_the_door(serve: Any) -> None:
    server = serve(host="0.0.0.0")  # as serve() would have been started with a token
    assert server.http.get("/v1/studies").status_code == 401
