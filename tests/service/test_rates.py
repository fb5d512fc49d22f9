"""Who asks too often is told to wait, and nobody else."""

from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from stillhouse import Client
from stillhouse_service import tokens
from stillhouse_service.rates import Buckets


def test_a_token_that_asks_too_often_waits_and_others_do_not(serve: Any) -> None:
    server = serve(rate_per_s=2.0)
    with server.store.begin() as work:
        held = [tokens.create(work, name, ["read"], None)[1] for name in ("anna", "bert")]
    anna, bert = ({"Authorization": f"Bearer {token}"} for token in held)
    answers = [server.http.get("/v1/models", headers=anna) for _ in range(12)]
    statuses = [answer.status_code for answer in answers]
    assert statuses[:4] == [200] * 4 and 429 in statuses  # two seconds' worth at once
    refused = answers[statuses.index(429)]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["type"] == "/problems/rate-limited"
    assert int(refused.headers["retry-after"]) == 1
    assert server.http.get("/v1/models", headers=bert).status_code == 200
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_the_client_waits_as_long_as_it_is_told(serve: Any) -> None:
    server = serve(rate_per_s=4.0)
    with server.store.begin() as work:
        token = tokens.create(work, "anna", ["read"], None)[1]
    with Client(server.url, token=token) as client:
        for _ in range(10):  # two more than at once
            assert client.models.list()


@given(
    rate=st.floats(0.1, 100.0),
    pauses=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60),
)
def test_never_more_are_let_in_than_the_rate_allows(rate: float, pauses: list[float]) -> None:
    now = [0.0]
    buckets = Buckets(rate, clock=lambda: now[0])
    n_let_in = 0
    for pause in pauses:
        now[0] += pause
        wait_s = buckets.wait_s("anna")
        n_let_in += wait_s == 0.0
        assert n_let_in <= max(1.0, 2 * rate) + rate * now[0] + 1e-6
        if wait_s > 0:  # who waits as long as told is let in
            now[0] += wait_s + 1e-9
            assert buckets.wait_s("anna") == 0.0
            n_let_in += 1
