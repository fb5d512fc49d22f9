"""What a server logs while it works: JSON lines with ids, and never a secret."""

import io
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from waits import wait_until

from stillhouse_benchmark import logs
from stillhouse_service import tokens
from stillhouse_service.demo_processes import free_port


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What would go to stderr; pytest's own handlers are put back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers = []  # else they would be closed
    stream = io.StringIO()
    yield stream
    root.handlers, root.level = handlers, level


def _lines(stream: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_what_happens_to_a_trial_is_told_line_by_line_with_its_ids(
    stream: io.StringIO, serve: Any, connect: Any
) -> None:
    logs.configure("json", "debug", stream)
    server = serve()
    host = connect(server)
    study = server.study(budget={"trials": 1})
    host.play(server, study, [0.9])
    lines = _lines(stream)
    assert all({"time", "level", "logger", "event"} <= line.keys() for line in lines)
    (trial,) = server.get(f"/v1/studies/{study}/trials")["items"]
    of_trial = [line for line in lines if line.get("trial") == trial["id"]]
    assert {line["study"] for line in of_trial} == {study}
    leases = [line for line in of_trial if "lease" in line]
    assert {line["who"] for line in leases} >= {"scripted compute", host.device_id}
    assert any(line["event"].endswith("benchmarking -> complete") for line in of_trial)
    requests = [line for line in lines if line["event"].startswith("POST '/v1/studies'")]
    assert len(requests) == 1
    made = [line for line in lines if line.get("request") == requests[0]["request"]]
    assert any(line.get("study") == study for line in made)  # what the request did


def test_a_request_keeps_the_id_it_came_with(stream: io.StringIO, server: Any) -> None:
    logs.configure("json", "debug", stream)
    answer = server.http.get("/v1/studies/none", headers={"X-Request-Id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    # The line is written once the answer is on its way.
    deadline = time.monotonic() + 30
    while not any(line.get("request") == "mine-1" for line in _lines(stream)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("forged", ['a"b', "x" * 101, "a b", "a\tb", ""])
def test_an_id_that_could_forge_a_line_is_replaced(server: Any, forged: str) -> None:
    answer = server.http.get("/healthz", headers={"X-Request-Id": forged})
    assert answer.headers["x-request-id"] != forged
    assert len(answer.headers["x-request-id"]) == 32


def test_refusals_have_an_id_as_well(serve: Any) -> None:
    server = serve(max_body_bytes=1000)
    answer = server.http.post("/v1/studies", content=b"x" * 2000)
    assert answer.status_code == 413
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("kind", logs.FORMATS)
def test_secrets_are_left_out_whoever_logs_them(stream: io.StringIO, serve: Any, kind: str) -> None:
    logs.configure(kind, "debug", stream)
    server = serve()
    with server.store.begin() as work:
        token = tokens.create(work, "anna", ["admin"])[1]
    server.http.get("/v1/studies", headers={"Authorization": f"Bearer {token}"})
    log = logging.getLogger("anybody")
    log.error("no answer from postgresql://me:hunter2@host/x with %s", token)
    try:
        raise RuntimeError(f"Authorization: Bearer {token}, password=hunter2&x=1")
    except RuntimeError:
        log.exception('it "failed"')
    said = stream.getvalue()
    assert token not in said
    assert "hunter2" not in said
    if kind == "json":
        (told,) = [line for line in _lines(stream) if line["event"] == 'it "failed"']
        assert "RuntimeError" in told["exception"]


def test_lines_for_people_name_what_they_are_about(stream: io.StringIO) -> None:
    logs.configure("text", "info", stream)
    with logs.about(study="std_1", trial=None), logs.about(lease="lse_1"):
        logging.getLogger("anybody").info("it goes on")
    logging.getLogger("anybody").info("alone")
    logging.getLogger("anybody").debug("too little")
    first, second = stream.getvalue().splitlines()
    assert first.endswith("INFO it goes on  [study=std_1 lease=lse_1]")
    assert second.endswith("INFO alone")


@pytest.mark.parametrize(("name", "value"), [("FORMAT", "xml"), ("LEVEL", "loud")])
def test_a_compute_worker_refuses_a_log_that_is_none(
    run: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"STILLHOUSE_LOG_{name}", value)
    status, _, said = run("compute-worker", "tcp://127.0.0.1:9")
    assert status == 2
    assert f"no log {name.lower()} '{value}'" in said


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGUSR1")
def test_a_server_that_is_asked_tells_where_its_threads_are_and_goes_on(
    tmp_path: Path,
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "stillhouse_service.cli", "serve", "--port", str(port)]
    command += ["--database", f"sqlite:///{tmp_path}/stillhouse.db", "--compute", "none"]
    command += ["--artifacts", str(tmp_path / "artifacts")]
    log = tmp_path / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out)
    try:

        def is_up() -> bool:
            with suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
            return False

        wait_until(is_up, "the server", timeout_s=60)
        server.send_signal(signal.SIGUSR1)
        wait_until(lambda: "driver.py" in log.read_text(), "the stacks of its threads")
        assert is_up()
    finally:
        server.kill()
        server.wait()
