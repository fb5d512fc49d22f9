"""Garbage at every door: refused with a problem document, and nothing stored."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse_service.tables import Base

DOORS = [
    "/v1/workers",
    "/v1/leases",
    "/v1/leases/{lease}/heartbeat",
    "/v1/leases/{lease}/result",
    "/v1/leases/{lease}/failure",
    "/v1/leases/{lease}/release",
    "/v1/leases/{lease}/check",
    "/v1/studies",
    "/v1/baselines",
    "/v1/studies/{study}/ask",
    "/v1/studies/{study}/trials/import",
    "/v1/trials/{trial}/tell",
    "/v1/trials/{trial}/extend",
]
WORKER_DOORS = [door for door in DOORS if door.startswith(("/v1/workers", "/v1/leases"))]
OUTSIDE = {
    "name": "outside",
    "runner": "outside",
    "parameters": [{"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}],
    "objectives": ["loss"],
    "budget": {"trials": 5},
}
_KEYS = ["token", "result", "failure", "progress", "name", "version", "devices", "worker_id"]
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


_bodies = st.binary(max_size=60) | _values.map(_dump)


def _rows(server: Any) -> dict[str, list[tuple[Any, ...]]]:
    """What the database holds, but for when hosts were heard of and why a study waits."""
    path = server.settings.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as database:
        return {
            name: database.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
            for name in Base.metadata.tables
            if name not in ("worker", "device", "study")
        } | {
            name: database.execute(f"SELECT id FROM {name} ORDER BY 1").fetchall()
            for name in ("worker", "device", "study")
        }


def _throw_garbage(server: Any, connect: Any, doors: list[str], n_bodies: int) -> None:
    """Send so many bodies to each door: each is refused, and the database stays as it was."""
    server.study()
    lease = connect(server).lease()
    outside = server.http.post("/v1/studies", json=OUTSIDE).json()["id"]
    (asked,) = server.http.post(f"/v1/studies/{outside}/ask", json={}).json()["items"]
    names = {"lease": lease["id"], "study": outside, "trial": asked["trial"]["id"]}
    before = _rows(server)
    headers = {"Stillhouse-Protocol": "1", "Content-Type": "application/json"}
    for door in doors:
        _at_one_door(server, door.format(**names), headers, n_bodies)
    assert _rows(server) == before


def _at_one_door(server: Any, path: str, headers: dict[str, str], n_bodies: int) -> None:
    @settings(
        max_examples=n_bodies,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(body=_bodies)
    def throw(body: bytes) -> None:
        if path.endswith("/ask") and body.strip() == b"{}":
            return  # all of it may be left out
        answer = server.http.post(path, content=body, headers=headers)
        assert 400 <= answer.status_code < 500, (path, body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"

    throw()


def test_garbage_is_refused_and_nothing_is_stored(server: Any, connect: Any) -> None:
    _throw_garbage(server, connect, DOORS, 15)


@pytest.mark.slow  # minutes: 70,000 requests
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("door", WORKER_DOORS)
def test_ten_thousand_pieces_of_garbage_at_a_workers_door_leave_nothing(
    serve: Any, connect: Any, door: str
) -> None:
    # A lease that ran out meanwhile would be a change as well.
    _throw_garbage(serve(lease_s=7200.0), connect, [door], 10_000)


@pytest.mark.parametrize(
    "name",
    ['"\\ud800"', '"a\\u0000b"', '"' + "x" * 10 + '", "devices": ' + "[" * 3000 + "]" * 3000],
)
def test_text_that_no_database_takes_is_refused(server: Any, name: str) -> None:
    body = f'{{"version": "1", "devices": [], "name": {name}}}'
    headers = {"Stillhouse-Protocol": "1", "Content-Type": "application/json"}
    answer = server.http.post("/v1/workers", content=body, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text


def test_a_study_with_text_that_no_database_takes_is_refused(server: Any) -> None:
    body = _dump(server.spec()).replace(b'"name": "digits"', b'"name": "a\\u0000b"')
    headers = {"Content-Type": "application/json"}
    answer = server.http.post("/v1/studies", content=body, headers=headers)
    assert answer.status_code == 422
