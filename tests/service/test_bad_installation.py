"""What an operator gets wrong: `stillhouse serve` says one sentence and ends; nothing is harmed."""

import logging
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from certificate_files import make_authority, make_certificate
from postgres_server import Postgres


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """`serve` sets logging up for its process; this one's is put back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level


@pytest.fixture
def refused(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `stillhouse serve`; it must not begin to. Gives the sentence."""
    monkeypatch.chdir(tmp_path)

    def call(*options: str, status: int = 1) -> str:
        found, _, said = run("serve", "--compute", "none", "--port", "0", *options)
        assert found == status, said
        (sentence,) = [line for line in said.splitlines() if line.startswith("stillhouse: ")]
        assert "Traceback" not in said
        return str(sentence)

    return call


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("stillhouse.db", "not a database URL"),
        ("oracle://host/name", "oracle is not supported; wanted sqlite or postgresql"),
        ("sqlite:///no/such/folder/x.db", "unable to open database file"),
        ("sqlite:///notes.txt", "file is not a database"),
    ],
)
def test_a_wrong_database_url_is_told_at_once(
    refused: Any, tmp_path: Path, url: str, says: str
) -> None:
    (tmp_path / "notes.txt").write_text("what I must not forget: " * 100)
    assert says in refused("--database", url)
    assert (tmp_path / "notes.txt").read_text() == "what I must not forget: " * 100


def test_a_postgres_without_such_a_database_is_told_at_once(
    refused: Any, postgres: Postgres
) -> None:
    sentence = refused("--database", postgres.url("no_such_name"))
    assert 'database "no_such_name" does not exist' in sentence


@pytest.mark.parametrize(
    ("revision", "says"),
    [("0002", "`stillhouse db upgrade`"), ("9999", "use the version that wrote it")],
)
def test_a_schema_of_another_version_is_told_and_left_alone(
    refused: Any, tmp_path: Path, revision: str, says: str
) -> None:
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        database.execute(f"INSERT INTO alembic_version VALUES ('{revision}')")
        database.commit()
    assert says in refused("--database", f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT * FROM alembic_version").fetchall() == [(revision,)]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("a-file", "cannot be used: File exists"),
        ("a-file/below", "cannot be used: Not a directory"),
        ("nowhere://bucket/x", "cannot be opened"),
    ],
)
def test_an_artifact_store_that_is_none_is_told(
    refused: Any, tmp_path: Path, address: str, says: str
) -> None:
    (tmp_path / "a-file").write_text("not a folder")
    assert says in refused("--artifacts", address)


def test_settings_that_make_no_sense_are_told_together(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stillhouse.toml").write_text("lease_s = 0\n")
    monkeypatch.setenv("STILLHOUSE_MAX_ATTEMPTS", "0")
    status, _, said = run("serve", "--port", "99999")
    assert status == 2
    assert said.splitlines() == [
        "stillhouse: 3 to mend:",
        "  port (command line): must be a port number, got 99999",
        "  lease_s (stillhouse.toml:1): must be above 0, got 0.0",
        "  STILLHOUSE_MAX_ATTEMPTS: must be at least 1, got 0",
    ]


class _Silent(BaseHTTPRequestHandler):
    """Answers nobody: the handshake fails before."""


@pytest.fixture
def expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an HTTPS server whose certificate has run out; its signer is trusted."""
    make_authority(tmp_path)
    make_certificate(tmp_path, "server", days=-1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server-key.pem")
    server = HTTPServer(("127.0.0.1", 0), _Silent)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=20)


def test_a_servers_certificate_that_has_run_out_is_told_by_the_command_line(
    run: Any, expired: str
) -> None:
    status, _, said = run("study", "list", "--server", expired)
    assert status == 3
    assert "certificate has expired" in said


_ASK = """
import sys
from stillhouse_benchmark.client import Client
from stillhouse_benchmark.errors import ServerUnreachable
try:
    Client(sys.argv[1]).register("edge-1", "0.1.0", ())
except ServerUnreachable as error:
    print(error)
"""


def test_a_servers_certificate_that_has_run_out_is_told_by_a_device_host(expired: str) -> None:
    told = subprocess.check_output([sys.executable, "-c", _ASK, expired], text=True)
    assert "certificate has expired" in told
