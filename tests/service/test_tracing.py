"""Traces as a collector gets them: OTLP over real HTTP, decoded from its protobuf."""

import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stillhouse_service import tracing
from stillhouse_service.errors import ExtraMissing

OUTSIDE = {
    "name": "outside",
    "runner": "outside",
    "parameters": [{"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}],
    "objectives": ["loss"],
    "budget": {"trials": 2},
}


class _Collector(HTTPServer):
    """Takes what exporters send."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.spans: list[Span] = []
        self.services: set[str] = set()


class _Taker(BaseHTTPRequestHandler):
    server: _Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.services |= {
                one.value.string_value
                for one in resource.resource.attributes
                if one.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.server.spans += scope.spans
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Collector]:
    server = _Collector()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    yield server
    server.shutdown()
    server.server_close()
    thread.join(timeout=20)


def _attributes(span: Span) -> Mapping[str, str]:
    return {one.key.removeprefix("stillhouse."): one.value.string_value for one in span.attributes}


def _seconds(span: Span) -> float:
    return (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9


def test_a_trial_is_one_trace_from_its_proposal_to_the_device(
    collector: _Collector, serve: Any, connect: Any, result: Any
) -> None:
    with tracing.sent():
        server = serve()
        host = connect(server)
        study = server.study(budget={"trials": 1})
        parents, n_measured = [], 0
        while server.get(f"/v1/studies/{study}")["state"] in ("checking", "running"):
            server.compute_all()
            answer = host.ask(wait_s=0.2)
            if answer.status_code == 200:
                lease = answer.json()
                parents.append(lease["traceparent"])
                n_measured += 1
                if n_measured == 2:  # the trial's; it is handed out again
                    host.tell(lease, "release")
                else:
                    host.tell(lease, "result", result={**result(), "duration_s": 1e-6})
        server.stop()
    (trial,) = {one.trace_id for one in collector.spans if one.name == "trial"}
    spans = [one for one in collector.spans if one.trace_id == trial]
    assert sorted(one.name for one in spans if one.name in ("trial", "propose", "compress")) == [
        *("compress", "propose", "trial")
    ]
    by_name = {one.name: one for one in spans}
    root = by_name["trial"]
    assert root.parent_span_id == b""
    benchmarks = [one for one in spans if one.name == "benchmark"]
    assert sorted(_attributes(one)["outcome"] for one in benchmarks) == ["released", "succeeded"]
    for one in (by_name["compress"], by_name["propose"], *benchmarks):
        assert one.parent_span_id == root.span_id
    succeeded = {one.span_id for one in benchmarks if _attributes(one)["outcome"] == "succeeded"}
    jobs = [one for one in spans if one.name == "device job"]
    assert succeeded <= {one.parent_span_id for one in jobs}
    assert all(_seconds(job) == pytest.approx(1e-6, abs=1e-6) for job in jobs)
    assert {"study": study, "outcome": "complete"}.items() <= _attributes(root).items()
    # What a device host was told is the span of its lease.
    told = {bytes.fromhex(one.split("-")[2]) for one in parents if one}
    assert {one.span_id for one in benchmarks} <= told
    assert collector.services == {"stillhouse"}


def test_a_request_links_to_the_trials_that_it_makes_and_goes_on_in_its_callers_trace(
    collector: _Collector, serve: Any
) -> None:
    ours = "0123456789abcdef0123456789abcdef"
    with tracing.sent():
        server = serve()
        study = server.http.post("/v1/studies", json=OUTSIDE).json()["id"]
        asked = server.http.post(
            f"/v1/studies/{study}/ask",
            json={"n": 2},
            headers={"traceparent": f"00-{ours}-0123456789abcdef-01"},
        ).json()["items"]
        server.http.get("/healthz")
        failure = {"class": "diverged", "reason": "the loss is NaN"}
        body = {"token": asked[0]["token"], "failure": failure}
        assert server.http.post(f"/v1/trials/{asked[0]['trial']['id']}/tell", json=body).is_success
        server.stop()
    (request,) = [one for one in collector.spans if one.trace_id.hex() == ours]
    trials = {link.trace_id for link in request.links}
    assert len(trials) == 2
    (failed,) = [one for one in collector.spans if one.name == "trial"]
    assert failed.trace_id in trials
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert "the loss is NaN" in failed.status.message
    assert not any("healthz" in one.name for one in collector.spans)


def test_without_a_collector_nothing_of_it_is_there(serve: Any, connect: Any) -> None:
    with tracing.sent({}):
        server = serve()
        server.study()
        assert connect(server).lease()["traceparent"] is None
    assert not tracing.is_on()


def test_a_collector_without_the_packages_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if the extra were not installed.
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with (
        pytest.raises(ExtraMissing, match=r"pip install 'stillhouse\[otel\]'"),
        tracing.sent({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}),
    ):
        pass


def test_ids_follow_from_the_rows_and_are_never_none() -> None:
    assert tracing._number("trl_1", 16) == tracing._number("trl_1", 16)
    assert tracing._number("trl_1", 16) != tracing._number("trl_2", 16)
    assert 0 < tracing._number("", 8) < 2**64
