"""Schemathesis: whatever the OpenAPI document lets in, no answer is a 5xx and each fits it."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from stillhouse_service import tokens

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
OUTSIDE = {
    "name": "outside",
    "runner": "outside",
    "parameters": [{"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}],
    "objectives": ["loss"],
    "budget": {"trials": 500},
}


def _filled(server: Any, connect: Any) -> dict[str, list[str]]:
    """A finished study, one that runs, one that is run outside; names for every path's blank."""
    done = server.study(budget={"trials": 1})
    host = connect(server)
    host.play(server, done, [0.5])
    runs = server.study()
    lease = host.lease()
    outside = server.http.post("/v1/studies", json=OUTSIDE).json()["id"]
    asked = server.http.post(f"/v1/studies/{outside}/ask", json={"n": 2}).json()["items"]
    hook = server.http.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"}).json()["id"]
    trial = server.get(f"/v1/studies/{done}/trials")["items"][0]
    return {
        "study_id": [done, runs, outside],
        "trial_id": [trial["id"], *(one["trial"]["id"] for one in asked)],
        "baseline_id": [one["id"] for one in server.get("/v1/baselines")["items"]],
        "sha256": list(trial["artifacts"].values()),
        "lease_id": [lease["id"]],
        "webhook_id": [hook],
        "slug": ["not-found", "internal"],
        "token_id": ["tok_none"],  # revoking ours would end the test early
        "operation_id": ["opn_none"],
        "done": [done],
    }


def _throw_at_everything(server: Any, connect: Any, n_examples: int) -> None:
    names = _filled(server, connect)
    with server.store.begin() as work:
        _, token = tokens.create(work, "schemathesis", ["admin"], None)
    document = server.get("/openapi.json")
    schema = schemathesis.openapi.from_dict(document)
    headers = {"Authorization": f"Bearer {token}", "Stillhouse-Protocol": "1"}
    failures = []
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        try:
            _throw_at(server, operation, names, headers, n_examples)
        except Exception as failure:  # every operation has its turn
            failures.append(f"{operation.label}: {failure}"[:3000])
    assert not failures, "\n\n".join(failures)


def _throw_at(
    server: Any,
    operation: Any,
    names: dict[str, list[str]],
    headers: dict[str, str],
    n_examples: int,
) -> None:
    # A stream of a study that goes on has no end.
    is_stream = operation.path.endswith("/stream")

    @settings(
        max_examples=n_examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), data=st.data())
    def throw(case: Any, data: st.DataObject) -> None:
        for blank in case.path_parameters or {}:
            if is_stream or data.draw(st.integers(0, 3)) > 0:
                known = names["done"] if is_stream else names.get(blank, ["none"])
                case.path_parameters[blank] = data.draw(st.sampled_from(known))
        answer = case.call(base_url=server.url, headers=headers, timeout=60)
        case.validate_response(answer, checks=CHECKS)

    throw()


def test_no_request_the_document_allows_gets_a_5xx_or_an_answer_of_another_shape(
    serve: Any, connect: Any
) -> None:
    server = serve(rate_per_s=0.0, webhook_networks="127.0.0.0/8", webhook_retry_s=600.0)
    _throw_at_everything(server, connect, 5)


@pytest.mark.slow  # minutes: a hundred requests to each operation
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
def test_a_hundred_requests_to_each_operation_get_no_5xx(serve: Any, connect: Any) -> None:
    server = serve(rate_per_s=0.0, webhook_networks="127.0.0.0/8", webhook_retry_s=600.0)
    _throw_at_everything(server, connect, 100)
