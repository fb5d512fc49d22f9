"""`stillhouse doctor`: every part that can be wrong, made wrong, with its cure and exit status."""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from certificate_files import make_authority, make_certificate

from stillhouse_service import cluster, diagnosis, tokens
from stillhouse_service.ids import utc_now
from stillhouse_service.settings import Settings
from stillhouse_service.store import Store

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def doctor(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run `stillhouse doctor --json` with settings from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STILLHOUSE_COMPUTE", "none")

    def call(**settings: Any) -> tuple[int, dict[str, Any]]:
        for name, value in settings.items():
            monkeypatch.setenv(f"STILLHOUSE_{name.upper()}", str(value))
        status, said, _ = run("doctor", "--json")
        told = json.loads(said)
        assert (status == 1) == (told["status"] == "failed")
        return status, {part["name"]: part for part in told["parts"]}

    return call


@on_both
def test_all_is_well_beside_a_server_with_a_device(
    serve: Any, connect: Any, doctor: Any, run: Any
) -> None:
    server = serve()
    connect(server, "edge-7")
    places = {
        "database_url": server.settings.database_url,
        "artifact_dir": server.settings.artifact_dir,
    }
    status, parts = doctor(**places)
    assert status == 0
    assert list(parts) == [
        *("database", "schema", "artifacts", "room", "compute", "devices", "tokens", "clock")
    ]
    assert {part["state"] for part in parts.values()} == {"ok"}, parts
    assert parts["devices"]["says"] == "live: edge-7 CPU"
    status, said, _ = run("doctor")
    assert status == 0
    assert [line.split()[:2] for line in said.splitlines()] == [["ok", name] for name in parts]


def test_where_nothing_is_yet_nothing_is_made(doctor: Any, tmp_path: Path) -> None:
    status, parts = doctor()
    assert status == 0
    for name in ("database", "artifacts"):
        assert parts[name]["state"] == "degraded"
        assert "`stillhouse serve` makes it" in parts[name]["cure"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("stillhouse.db", "not a database URL"),
        ("mysql://host/name", "mysql is not supported"),
        ("postgresql://me:secret@127.0.0.1:9/none", "it does not answer"),
    ],
)
def test_a_database_that_cannot_be_used_fails_without_its_password(
    doctor: Any, url: str, says: str
) -> None:
    status, parts = doctor(database_url=url)
    assert (status, parts["database"]["state"]) == (1, "failed")
    assert says in parts["database"]["says"]
    assert "STILLHOUSE_DATABASE_URL" in parts["database"]["cure"]
    assert "secret" not in str(parts)


def _with_table(path: Path, *statements: str) -> str:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()
    return f"sqlite:///{path}"


@pytest.mark.parametrize(
    ("statements", "state", "says", "cure"),
    [
        ((), "degraded", "the database is empty", "stillhouse serve"),
        (("CREATE TABLE notes (x)",), "failed", "another program's tables: notes", "empty"),
        (
            (
                "CREATE TABLE alembic_version (version_num VARCHAR(32))",
                "INSERT INTO alembic_version VALUES ('0002')",
            ),
            "failed",
            "0002; this version needs",
            "stillhouse db upgrade",
        ),
        (
            (
                "CREATE TABLE alembic_version (version_num VARCHAR(32))",
                "INSERT INTO alembic_version VALUES ('9999')",
            ),
            "failed",
            "9999, unknown here",
            "use the version that wrote it",
        ),
    ],
    ids=["empty", "foreign", "older", "newer"],
)
def test_a_schema_that_is_not_this_versions_says_what_to_do(
    doctor: Any, tmp_path: Path, statements: tuple[str, ...], state: str, says: str, cure: str
) -> None:
    url = _with_table(tmp_path / "some.db", *statements)
    status, parts = doctor(database_url=url)
    assert (status, parts["schema"]["state"]) == (int(state == "failed"), state)
    assert says in parts["schema"]["says"]
    assert cure in parts["schema"]["cure"]
    with closing(sqlite3.connect(tmp_path / "some.db")) as database:
        made = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    assert made == min(1, len(statements))  # nothing was changed


@pytest.mark.parametrize("address", ["a-file", "nowhere://bucket/x"])
def test_an_artifact_store_that_cannot_be_opened_fails(
    doctor: Any, tmp_path: Path, address: str
) -> None:
    (tmp_path / "a-file").write_text("not a folder")
    status, parts = doctor(artifact_dir=address)
    assert (status, parts["artifacts"]["state"]) == (1, "failed")
    assert "STILLHOUSE_ARTIFACT_DIR" in parts["artifacts"]["cure"]


def test_a_scheduler_that_nobody_reaches_is_told_with_its_address(doctor: Any) -> None:
    _, parts = doctor(compute="tcp://127.0.0.1:9")
    assert parts["compute"]["state"] == "degraded"
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in parts["compute"]["says"]


def test_a_certificate_that_has_run_out_is_named(doctor: Any, tmp_path: Path) -> None:
    make_authority(tmp_path)
    make_certificate(tmp_path, "ours", days=-1)
    _, parts = doctor(
        compute="tls://127.0.0.1:9",
        compute_ca="ca.pem",
        compute_cert="ours.pem",
        compute_key="ours-key.pem",
    )
    assert parts["compute"]["state"] == "degraded"
    assert "ours.pem cannot be used: certificate has expired" in parts["compute"]["says"]


def test_devices_and_tokens_say_what_will_stop_a_study(
    serve: Any, connect: Any, doctor: Any
) -> None:
    server = serve(device_ttl_s=60.0)
    connect(server, "edge-7")
    with server.store.begin() as work:
        for _, device in enumerate(work.devices.all_with_hosts()):
            device[0].last_seen_at -= timedelta(hours=2)
        tokens.create(work, "anna", ["admin"], days=3)
    url = server.settings.database_url
    _, parts = doctor(database_url=url, artifact_dir=server.settings.artifact_dir)
    assert parts["devices"]["state"] == "degraded"
    assert parts["devices"]["says"].startswith("live: none; silent: edge-7 CPU (since ")
    assert parts["tokens"]["state"] == "degraded"
    assert "run out soon: anna (" in parts["tokens"]["says"]


@pytest.mark.parametrize(
    ("host", "scopes", "status", "state", "says"),
    [
        ("0.0.0.0", [], 1, "failed", "the server will not start"),
        ("0.0.0.0", ["read"], 0, "degraded", "1 live, none of scope admin"),
        ("0.0.0.0", ["admin"], 0, "ok", "1 live"),
        ("127.0.0.1", [], 0, "ok", "every program of this machine"),
    ],
)
def test_who_may_do_what_is_looked_at(
    serve: Any,
    connect: Any,
    doctor: Any,
    host: str,
    scopes: list[Any],
    status: int,
    state: str,
    says: str,
) -> None:
    server = serve()
    if scopes:
        with server.store.begin() as work:
            tokens.create(work, "anna", scopes)
    found, parts = doctor(
        database_url=server.settings.database_url,
        artifact_dir=server.settings.artifact_dir,
        host=host,
    )
    assert (found, parts["tokens"]["state"]) == (status, state)
    assert says in parts["tokens"]["says"]


def test_a_clock_behind_the_log_is_told(serve: Any, doctor: Any) -> None:
    server = serve()
    ahead = Store(server.app.state.engine, clock=lambda: utc_now() + timedelta(hours=1))
    with ahead.begin() as work:
        work.audit("server", "clock", reason="a test")
    _, parts = doctor(
        database_url=server.settings.database_url, artifact_dir=server.settings.artifact_dir
    )
    assert parts["clock"]["state"] == "degraded"


class _Reached:
    """A cluster whose worker runs another version."""

    def versions(self) -> dict[str, dict[str, str]]:
        ours = cluster.versions()
        return {"scheduler": ours, "tcp://10.0.0.7:4711": {**ours, "torch": "1.0.0"}}

    def workers(self) -> list[cluster.Worker]:
        return [cluster.Worker("tcp://10.0.0.7:4711", {"GPU": 1.0}, (), False)]


def test_a_worker_of_another_version_is_named() -> None:
    part = diagnosis._workers(_Reached())  # type: ignore[arg-type]  # as much of it as is used
    assert part.state == "degraded"
    assert "tcp://10.0.0.7:4711 has torch 1.0.0, here it is" in part.says


@pytest.mark.slow  # a worker process starts and imports torch
def test_an_embedded_worker_is_started_and_ended(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    settings = Settings(artifact_dir=folder, compute_resources="GPU=1", n_threads=1)
    place, _ = diagnosis._store(settings)
    part = diagnosis._compute(settings, place, is_quick=False)
    assert (part.state, part.says) == ("ok", "1 worker, GPU=1, shares the store")
