"""A real server on a real database, and two scripted parties: compute and a device host."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Postgres
from scripted_host import Host, made_up_result
from scripted_servers import TEMPLATE, KillableServer, Server

from stillhouse_service.cli import main
from stillhouse_service.database import open_engine, prepare
from stillhouse_service.ids import utc_now
from stillhouse_service.settings import Settings

Run = Callable[..., tuple[int, str, str]]

_names = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One real Postgres for all tests, with a database `blank` that is ours already."""
    server = Postgres()
    server.run("CREATE DATABASE blank")
    engine = open_engine(server.url("blank"))
    prepare(engine)
    engine.dispose()
    yield server
    server.stop()


def _settings(folder: Path, **changes: Any) -> Settings:
    chosen: dict[str, Any] = {
        "database_url": f"sqlite:///{folder}/stillhouse.db",
        "artifact_dir": folder / "artifacts",
        "compute": "none",
        "n_threads": 1,
        "retry_delay_s": 0.0,
        "lock_dir": str(folder / "lock"),
    }
    return Settings(**(chosen | changes))


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database: SQLite, unless a test asks for `postgres` as well."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path}/stillhouse.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"test{next(_names)}"
    is_ours = "serve" in request.fixturenames  # spares every server its migration
    server.run(f"CREATE DATABASE {name}" + (" TEMPLATE blank" if is_ours else ""))
    yield server.url(name)
    server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def serve(tmp_path: Path, database: str) -> Iterator[Callable[..., Server]]:
    """Start a server; called again, another one on the same database and artifacts."""
    with ExitStack() as stack:

        def start(clock: Callable[[], datetime] = utc_now, **changes: Any) -> Server:
            settings = _settings(tmp_path, **({"database_url": database} | changes))
            server = Server(settings, clock)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def killable(tmp_path: Path) -> Iterator[KillableServer]:
    """A server that can be killed."""
    server = KillableServer(_settings(tmp_path))
    yield server
    server.stop()


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()


@pytest.fixture
def connect() -> Iterator[Callable[..., Host]]:
    """Start a scripted device host."""
    hosts: list[Host] = []

    def start(server: Server, name: str = "edge-1", kind: str = "CPU") -> Host:
        hosts.append(Host(server, name, kind))
        return hosts[-1]

    yield start
    for one in hosts:
        one.http.close()


@pytest.fixture(scope="session")
def result() -> Callable[..., dict[str, Any]]:
    """Make up a device's report."""
    return made_up_result


@pytest.fixture(scope="session")
def template() -> str:
    """A template of one parameter for resnet20_cifar."""
    return TEMPLATE


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command as a shell would; give exit status, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["stillhouse", *arguments])
        status: Any = 0
        try:
            main()
        except SystemExit as ending:
            status = ending.code or 0
        said = capsys.readouterr()
        return int(status), said.out, said.err

    return call


@pytest.fixture
def at(run: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command against the server."""
    monkeypatch.setenv("STILLHOUSE_SERVER", server.url)
    return run
