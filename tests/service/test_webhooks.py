"""Webhooks: a real receiver, signatures, tries again, and addresses that are not called."""

import ipaddress
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse import Client, ProblemError, is_genuine
from stillhouse.signature import sign
from stillhouse_service.addresses import is_allowed, networks

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
LOOPBACK = {"webhook_networks": "127.0.0.0/8", "webhook_retry_s": 0.05, "webhook_tries": 4}
OUTSIDE = {
    "name": "outside",
    "runner": "outside",
    "parameters": [{"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}],
    "objectives": ["loss"],
    "budget": {"trials": 5},
}


class Receiver(ThreadingHTTPServer):
    """Somebody's server: keeps what comes and answers what it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body)["event"] for _, _, body in self.got]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))
        status = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.server.url + "/elsewhere")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.shutdown()
    one.server_close()
    one.thread.join(timeout=10)


def _wait(is_so: Callable[[], Any], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_of_two_servers_one_tells_and_when_it_ends_the_other_goes_on(
    serve: Any, receiver: Receiver
) -> None:
    first, second = serve(**LOOPBACK), serve(**LOOPBACK)
    with Client(second.url) as client:  # the one that does not drive
        client.webhooks.create(receiver.url, kinds=["state"])

        def is_told(server: Any, n: int) -> None:
            _wait(lambda: server.get("/healthz")["drives"])
            client.studies.create(OUTSIDE)  # checking, running
            _wait(lambda: len(receiver.got) == n)

        is_told(first, 2)
        first.stop()
        is_told(second, 4)
        told = [event["number"] for event in receiver.events()]
        assert told == sorted(set(told))


@on_both
def test_events_reach_a_receiver_signed_in_order_and_once(serve: Any, receiver: Receiver) -> None:
    server = serve(**LOOPBACK)
    server.http.post("/v1/studies", json=OUTSIDE)  # before the webhook: not told
    with Client(server.url) as client:
        hook = client.webhooks.create(receiver.url, kinds=["state"])
        study = client.studies.create(OUTSIDE)
        client.studies.ask(study.id)
        client.studies.cancel(study.id)
        log = server.get(f"/v1/studies/{study.id}/events")["items"]
        wanted = [event for event in log if event["kind"] == "state"]
        assert len(wanted) == 6  # study: checking, running, cancelled; trial: queued, asked, ...
        _wait(lambda: len(receiver.got) >= len(wanted))
        time.sleep(0.2)
        assert receiver.events() == wanted
        for path, headers, body in receiver.got:
            assert path == "/hook"
            assert is_genuine(hook["secret"], headers["Stillhouse-Signature"], body)
            assert not is_genuine("another secret", headers["Stillhouse-Signature"], body)
            assert not is_genuine(hook["secret"], headers["Stillhouse-Signature"], body + b" ")
        told = client.webhooks.deliveries(hook["id"])
        assert [(one["state"], one["status"], one["n_tries"]) for one in told] == [
            ("delivered", 204, 1)
        ] * len(wanted)
        (shown,) = client.webhooks.list()
        assert "secret" not in shown
        client.webhooks.end(hook["id"])
        client.studies.create(OUTSIDE)
        time.sleep(0.3)
        assert len(receiver.got) == len(wanted)
        kinds = {event["kind"] for event in server.get("/v1/events")["items"]}
        assert "webhook" in kinds


def test_a_failed_delivery_is_tried_again_and_given_up_in_the_end(
    serve: Any, receiver: Receiver
) -> None:
    server = serve(**LOOPBACK)
    receiver.answers = [500, 302, 204, 500, 500, 500, 500]
    with Client(server.url) as client:
        study = client.studies.create(OUTSIDE)
        hook = client.webhooks.create(receiver.url, study_id=study.id)
        client.studies.create(OUTSIDE)  # another study: not told
        client.studies.pause(study.id)
        _wait(lambda: len(receiver.got) == 3)
        client.studies.resume(study.id)
        states: Any = lambda: [one["state"] for one in client.webhooks.deliveries(hook["id"])]  # noqa: E731
        _wait(lambda: states() == ["given-up", "delivered"])
        assert [event["after"] for event in receiver.events()] == ["paused"] * 3 + ["running"] * 4
        assert {path for path, _, _ in receiver.got} == {"/hook"}  # no redirect was followed
        given_up = client.webhooks.deliveries(hook["id"])[0]
        assert (given_up["n_tries"], given_up["status"]) == (4, 500)
        assert given_up["error"] == "answered 500; wanted 200 to 299"


def test_what_waits_is_delivered_by_the_next_server(serve: Any, receiver: Receiver) -> None:
    server = serve(**{**LOOPBACK, "webhook_retry_s": 1.0})
    receiver.answers = [500]
    with Client(server.url) as client:
        client.webhooks.create(receiver.url, kinds=["state"])
        study = client.studies.create(OUTSIDE)
    _wait(lambda: len(receiver.got) == 1)
    server.stop()
    serve(**LOOPBACK)
    _wait(lambda: len(receiver.got) == 3)
    assert [event["after"] for event in receiver.events()] == ["checking", "checking", "running"]
    assert {event["subject"] for event in receiver.events()} == {study.id}


NOT_PUBLIC = [
    "http://127.0.0.1/x",
    "http://localhost:8470/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://169.254.169.254/latest/meta-data",
    "http://10.1.2.3/",
    "http://192.168.0.1/",
    "http://[fe80::1]/",
    "http://[fd00::1]/",
    "http://0.0.0.0/",
    "http://2130706433/",  # 127.0.0.1 in another notation
    "http://0x7f.1/",
    "ftp://example.org/",
    "file:///etc/passwd",
    "http://user:word@93.184.216.34/",
    "http://no.such.host.invalid/",
    "http:///x",
    "http://[::1",
    "http://93.184.216.34:99999/",
    "http://93.184.216.34/a b",
]


def test_addresses_that_are_not_of_the_public_internet_are_refused(server: Any) -> None:
    with Client(server.url) as client:
        for url in NOT_PUBLIC:
            with pytest.raises(ProblemError) as refused:
                client.webhooks.create(url)
            assert [problem.path for problem in refused.value.problems] == ["url"], url
    assert server.get("/v1/webhooks")["items"] == []


def test_an_address_that_has_become_private_is_not_called(serve: Any, receiver: Receiver) -> None:
    server = serve(**LOOPBACK)
    with Client(server.url) as client:
        hook = client.webhooks.create(receiver.url)
    server.stop()
    server = serve(webhook_retry_s=0.05, webhook_tries=2)  # allows no such network any more
    with Client(server.url) as client:
        client.studies.create(OUTSIDE)
        _wait(lambda: any(d["state"] == "given-up" for d in client.webhooks.deliveries(hook["id"])))
        assert "not of the public internet" in client.webhooks.deliveries(hook["id"])[-1]["error"]
    assert receiver.got == []


@given(st.ip_addresses())
def test_no_private_address_is_ever_allowed(address: Any) -> None:
    if is_allowed(address):
        inner = getattr(address, "ipv4_mapped", None) or address
        assert not (
            inner.is_private or inner.is_loopback or inner.is_link_local or inner.is_multicast
        )
    if address.version == 4:  # and not in the clothes of IPv6
        for dressed in (
            ipaddress.IPv6Address((0xFFFF << 32) | int(address)),
            ipaddress.IPv6Address((0x64FF9B << 96) | int(address)),
            ipaddress.IPv6Address((0x2002 << 112) | int(address) << 80),
        ):
            assert is_allowed(dressed) == is_allowed(address)
        assert is_allowed(address, networks(f"{address}/32, ::/0"))


def test_a_signature_is_worth_nothing_later_or_when_it_is_broken() -> None:
    signed = sign("secret", b"body", 1_000_000)
    assert is_genuine("secret", signed, b"body", now_s=1_000_100)
    assert not is_genuine("secret", signed, b"body", now_s=1_000_400)
    for broken in ("", "t=1", "v1=x", "t=x,v1=y", signed.replace("t=1000000", "t=1000001")):
        assert not is_genuine("secret", broken, b"body", now_s=1_000_000)


def test_webhooks_from_the_command_line(
    serve: Any, receiver: Receiver, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(**LOOPBACK)
    monkeypatch.setenv("STILLHOUSE_SERVER", server.url)
    status, said, _ = run("webhook", "create", receiver.url, "--kind", "state", "--json")
    assert status == 0
    hook = json.loads(said)
    server.http.post("/v1/studies", json=OUTSIDE)
    _wait(lambda: len(receiver.got) == 2)
    assert hook["id"] in run("webhook", "list")[1]
    status, said, _ = run("webhook", "deliveries", hook["id"])
    assert status == 0 and said.count("delivered") >= 1
    assert run("webhook", "end", hook["id"])[0] == 0
