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
    "/v1/studies",
    "/v1/baselines",
]
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


def _n_rows(server: Any) -> dict[str, int]:
    path = server.settings.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as database:
        return {
            name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in Base.metadata.tables
        }


@pytest.mark.parametrize("door", DOORS)
def test_garbage_is_refused_and_nothing_is_stored(server: Any, connect: Any, door: str) -> None:
    server.study()
    lease = connect(server).lease()
    path = door.format(lease=lease["id"])
    before = _n_rows(server)
    headers = {"Stillhouse-Protocol": "1", "Content-Type": "application/json"}

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(body=_bodies)
    def throw(body: bytes) -> None:
        answer = server.http.post(path, content=body, headers=headers)
        assert 400 <= answer.status_code < 500, (body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"

    throw()
    assert _n_rows(server) == before


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
