"""The client against a scripted server, spoken to through httpx's own transport."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from stillhouse import (
    ArtifactCorrupt,
    Client,
    ConnectionFailed,
    ProblemError,
    StillhouseError,
    UnexpectedAnswer,
)
from stillhouse.transport import Transport
from stillhouse.waiting import wait_until_over

Answer = httpx.Response | httpx.TransportError


class Script:
    """Answers requests from a list, in order, and keeps what was asked."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, httpx.TransportError):
            raise answer
        return answer


def http(answers: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(base_url="http://server", transport=httpx.MockTransport(answers))


def transport(script: Script, pauses: list[float] | None = None) -> Transport:
    wait = (pauses if pauses is not None else []).append
    return Transport(http(script), n_retries=3, first_pause_s=0.5, sleep=wait)


def refused(**document: Any) -> httpx.Response:
    return httpx.Response(422, json=document, headers={"content-type": "application/problem+json"})


def test_a_question_is_asked_again_when_the_connection_fails_with_doubling_pauses() -> None:
    script = Script([httpx.ConnectError("x"), httpx.ReadError("x"), httpx.Response(200, json=7)])
    pauses: list[float] = []
    assert transport(script, pauses).get("/a") == 7
    assert pauses == [0.5, 1.0]


def test_an_order_is_sent_again_under_the_same_key_and_the_next_under_another() -> None:
    script = Script([httpx.ReadError("x"), *[httpx.Response(200, json=7)] * 2])
    one = transport(script)
    assert [one.post("/a", {}), one.post("/a", {})] == [7, 7]
    keys = [request.headers["Idempotency-Key"] for request in script.asked]
    assert keys[0] == keys[1] != keys[2]


def test_retries_end_and_the_error_names_the_server() -> None:
    script = Script([httpx.ConnectError("refused")] * 4)
    with pytest.raises(ConnectionFailed, match=r"no answer from http://server.*refused"):
        transport(script).get("/a")
    assert len(script.asked) == 4


def test_a_refusal_is_not_asked_again_and_carries_every_problem_with_its_path() -> None:
    script = Script(
        [
            refused(
                type="/problems/spec-rejected",
                title="Specification rejected",
                status=422,
                detail="two things",
                problems=[
                    {"path": "template.pruners.a", "message": "unknown class"},
                    {"path": "budget.trials", "message": "must be positive"},
                ],
            )
        ]
    )
    with pytest.raises(ProblemError, match="two things") as caught:
        transport(script).get("/a")
    assert caught.value.status == 422
    assert caught.value.kind == "/problems/spec-rejected"
    assert [str(p) for p in caught.value.problems] == [
        "template.pruners.a: unknown class",
        "budget.trials: must be positive",
    ]


def test_a_refusal_that_is_no_problem_document_still_says_what_came() -> None:
    script = Script([httpx.Response(502, text="<html>bad gateway")])
    with pytest.raises(ProblemError, match="502 Bad Gateway"):
        transport(script).get("/a")


def test_an_answer_without_json_asks_whether_this_is_the_right_server() -> None:
    with pytest.raises(UnexpectedAnswer, match="is this a Stillhouse server"):
        transport(Script([httpx.Response(200, text="hello")])).get("/a")


def test_pages_are_followed_to_the_end() -> None:
    script = Script(
        [
            httpx.Response(200, json={"items": [1, 2], "next_page_token": "t"}),
            httpx.Response(200, json={"items": [3], "next_page_token": None}),
        ]
    )
    assert list(transport(script).pages("/a", {"page_size": 2})) == [1, 2, 3]
    assert dict(script.asked[1].url.params) == {"page_size": "2", "page_token": "t"}


def test_a_download_with_the_wrong_hash_is_refused_and_not_written(tmp_path: Path) -> None:
    good = b"network"
    name = hashlib.sha256(good).hexdigest()
    target = tmp_path / "net.onnx"
    with (
        Client("http://server", http=http(lambda _: httpx.Response(200, content=b"else"))) as bad,
        pytest.raises(ArtifactCorrupt),
    ):
        bad.artifacts.download(name, target)
    assert not target.exists()
    with Client("http://server", http=http(lambda _: httpx.Response(200, content=good))) as client:
        assert client.artifacts.download(name, target) == good
    assert target.read_bytes() == good


def test_a_missing_artifact_is_a_problem_not_a_file(tmp_path: Path) -> None:
    answer = httpx.Response(404, json={"title": "Not found", "detail": "no artifact"})
    with (
        Client("http://server", http=http(lambda _: answer)) as client,
        pytest.raises(ProblemError, match="no artifact"),
    ):
        client.artifacts.download("0" * 64, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_token_travels_as_bearer() -> None:
    with Client("http://server", token="secret") as client:
        assert client._http.headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize("url", ["127.0.0.1:8321", "", "ftp://server"])
def test_something_that_is_no_address_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ConnectionFailed, match="wanted an address"):
        Client(url)


def test_an_id_cannot_leave_its_place_in_the_path() -> None:
    script = Script([httpx.Response(404, json={"detail": "no"})])
    with Client("http://server", http=http(script)) as client, pytest.raises(ProblemError):
        client.studies.get("../models")
    assert script.asked[0].url.raw_path == b"/v1/studies/..%2Fmodels"


class Thing:
    def __init__(self, state: int) -> None:
        self.state = state

    @property
    def is_over(self) -> bool:
        return self.state == 3

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and other.state == self.state

    def __hash__(self) -> int:
        return self.state


def test_waiting_tells_of_each_change_once_and_lives_through_a_restart_of_the_server() -> None:
    answers: list[Thing | StillhouseError] = [
        Thing(1),
        Thing(1),
        ConnectionFailed("restarting"),
        ProblemError(503, "/problems/database-unavailable", "busy", "busy"),
        Thing(2),
        Thing(3),
    ]

    def ask() -> Thing:
        answer = answers.pop(0)
        if isinstance(answer, StillhouseError):
            raise answer
        return answer

    seen: list[int] = []
    ended = wait_until_over(
        ask, "it", on_change=lambda t: seen.append(t.state), sleep=lambda _: None
    )
    assert ended.state == 3
    assert seen == [1, 2, 3]


def test_waiting_does_not_outsit_a_refusal() -> None:
    def ask() -> Thing:
        raise ProblemError(404, "/problems/not-found", "Not found", "no study")

    with pytest.raises(ProblemError, match="no study"):
        wait_until_over(ask, "it", sleep=lambda _: None)


def test_waiting_gives_up_on_a_server_that_stays_silent() -> None:
    now = [0.0]

    def ask() -> Thing:
        raise ConnectionFailed("gone")

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(ConnectionFailed):
        wait_until_over(ask, "it", poll_s=1, patience_s=5, clock=lambda: now[0], sleep=sleep)
    assert now[0] == 5.0
