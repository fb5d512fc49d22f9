"""`/healthz` and `/readyz`: what a server stands on is taken away, and it says so."""

import asyncio
import re
import shutil
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from certificate_files import make_authority, make_certificate
from postgres_server import Postgres
from sqlalchemy import text
from waits import wait_until

from stillhouse_service import tokens
from stillhouse_service.compute_desk import ComputeDesk
from stillhouse_service.driver import Driver
from stillhouse_service.ids import utc_now
from stillhouse_service.readiness import Part
from stillhouse_service.ready import Readiness

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
on_postgres = pytest.mark.parametrize("database", ["postgres"], indirect=True)
HOUR = timedelta(hours=1)


def _ready(server: Any, wanted_status: int = 200) -> tuple[str, dict[str, Any]]:
    """What `/readyz` says now, not what it said a moment ago: overall, and by part."""
    server.app.state.readiness._found.clear()
    server.app.state.readiness._patience_s = 60.0  # of a busy machine
    answer = server.http.get("/readyz")
    assert answer.status_code == wanted_status, answer.text
    told = answer.json()
    return told["status"], {part["name"]: part for part in told["parts"]}


@on_both
def test_a_server_with_all_it_needs_is_ready(server: Any) -> None:
    status, parts = _ready(server)
    assert status == "ok"
    assert list(parts) == ["database", "schema", "artifacts", "room", "compute", "driver", "clock"]
    assert {part["state"] for part in parts.values()} == {"ok"}
    assert not any(part["cure"] for part in parts.values())


def test_a_driver_that_hangs_or_has_ended_is_told(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr("stillhouse_service.readiness._LONG_STEP_S", 0.1)
        patch.setattr(ComputeDesk, "hand_out", lambda _: goes_on.wait(60))
        server = serve()

        def part() -> Any:
            return _ready(server)[1]["driver"]

        wait_until(lambda: part()["state"] == "degraded", "a step that takes long to be told")
        assert "studies wait" in part()["says"]
        goes_on.set()
    wait_until(lambda: part()["state"] == "ok", "the driver to go on")
    server.stop()

    monkeypatch.setattr(Driver, "_run", lambda _: None)
    status, parts = _ready(serve())
    assert (status, parts["driver"]["state"]) == ("degraded", "failed")
    assert "no study moves" in parts["driver"]["says"]


def test_neither_wants_a_token_nor_tells_an_address_or_a_path(serve: Any, tmp_path: Path) -> None:
    server = serve(compute="tcp://127.0.0.1:9")
    with server.store.begin() as work:
        tokens.create(work, "anna", ["admin"])
    shutil.rmtree(server.settings.artifact_dir)
    _ready(server)
    said = server.http.get("/readyz").text + server.http.get("/healthz").text
    for secret in (str(tmp_path), "127.0.0.1", "anna"):
        assert secret not in said


@on_postgres
def test_a_database_that_is_gone_is_503_and_back_it_is_ready(
    server: Any, postgres: Postgres, database: str
) -> None:
    name = database.split("@/")[1].split("?")[0]
    postgres.run(f"DROP DATABASE {name} WITH (FORCE)")
    status, parts = _ready(server, 503)
    assert (status, parts["database"]["state"]) == ("failed", "failed")
    assert "goes on by itself" in parts["database"]["cure"]
    assert name not in str(parts)
    assert server.http.get("/healthz").json()["status"] == "ok"  # it lives all the same
    postgres.run(f"CREATE DATABASE {name} TEMPLATE blank")
    assert _ready(server)[0] == "ok"


@on_both
def test_a_schema_that_was_changed_beneath_a_server_is_503(server: Any) -> None:
    with server.app.state.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    status, parts = _ready(server, 503)
    assert (status, parts["schema"]["state"]) == ("failed", "failed")
    assert "has schema 9999" in parts["schema"]["says"]
    assert "stillhouse db upgrade" in parts["schema"]["cure"]


def test_an_artifact_store_that_is_gone_is_told_while_the_server_answers(server: Any) -> None:
    shutil.rmtree(server.settings.artifact_dir)
    status, parts = _ready(server)
    assert (status, parts["artifacts"]["state"]) == ("degraded", "failed")
    assert "No such file or directory" in parts["artifacts"]["says"]
    assert "mount it again" in parts["artifacts"]["cure"]
    assert server.http.get("/v1/studies").status_code == 200
    server.settings.artifact_dir.mkdir()
    assert _ready(server)[0] == "ok"


def test_too_little_room_is_told_before_it_is_used_up(serve: Any) -> None:
    server = serve(min_free_bytes=10**18)
    status, parts = _ready(server)
    assert (status, parts["room"]["state"]) == ("degraded", "degraded")
    assert "1000000000000.0 MB are wanted" in parts["room"]["says"]
    assert "stillhouse artifacts gc" in parts["room"]["cure"]


@on_postgres
@pytest.mark.parametrize(
    ("shift", "said"), [(HOUR, "ahead of"), (-HOUR, "behind")], ids=["fast", "slow"]
)
def test_a_clock_that_is_an_hour_off_postgres_is_told(
    serve: Any, shift: timedelta, said: str
) -> None:
    server = serve(clock=lambda: utc_now() + shift)
    status, parts = _ready(server)
    assert (status, parts["clock"]["state"]) == ("degraded", "degraded")
    found = re.search(r"(\d+) s (ahead of|behind)", parts["clock"]["says"])
    assert found is not None
    assert found[2] == said
    assert int(found[1]) == pytest.approx(3600, abs=60)
    assert "NTP" in parts["clock"]["cure"]


def test_a_clock_that_was_set_back_is_told_where_there_is_only_the_log(serve: Any) -> None:
    first = serve()
    first.baseline()
    first.stop()
    late = serve(clock=lambda: utc_now() - HOUR)
    _, parts = _ready(late)
    assert parts["clock"]["state"] == "degraded"
    assert "the newest line of the log was written" in parts["clock"]["says"]


def test_a_scheduler_that_nobody_can_reach_is_told(serve: Any) -> None:
    status, parts = _ready(serve(compute="tcp://127.0.0.1:9"))
    assert (status, parts["compute"]["state"]) == ("degraded", "degraded")
    assert parts["compute"]["says"] == "no Dask scheduler answers"


@pytest.mark.parametrize(
    ("days", "said"), [(-1, "certificate has expired"), (2, "no Dask scheduler answers")]
)
def test_a_certificate_that_has_run_out_is_told_and_studies_say_so(
    serve: Any, tmp_path: Path, days: int, said: str
) -> None:
    make_authority(tmp_path)
    make_certificate(tmp_path, "ours", days)
    files = {f"compute_{name}": str(tmp_path / file) for name, file in _FILES.items()}
    server = serve(compute="tls://127.0.0.1:9", **files)
    status, parts = _ready(server)
    assert (status, parts["compute"]["state"]) == ("degraded", "degraded")
    assert said in parts["compute"]["says"]
    assert str(tmp_path) not in str(parts)
    made = server.http.post("/v1/baselines", json={"model": "resnet20_cifar", "dataset": "digits"})
    baseline = made.json()["id"]

    def why() -> str:
        return str(server.get(f"/v1/baselines/{baseline}")["progress"].get("waits_for", ""))

    deadline = time.monotonic() + 30
    while said not in why():
        assert time.monotonic() < deadline, why()
        time.sleep(0.02)


_FILES = {"ca": "ca.pem", "cert": "ours.pem", "key": "ours-key.pem"}


def test_a_part_that_hangs_is_told_and_costs_one_thread() -> None:
    release, n_begun = threading.Event(), []

    def hangs() -> Part:
        n_begun.append(1)
        release.wait(60)
        return Part("mount", "ok", "there")

    async def scenario() -> None:
        watched = Readiness(
            {"mount": hangs, "other": lambda: Part("other", "ok", "there")}, 0.05, 0.0
        )
        for _ in range(3):
            mount, other = await watched.look()
            assert (mount.state, other.state) == ("failed", "ok")
            assert "no answer for 0.05 s" in mount.says
        assert len(n_begun) == 1
        release.set()
        for _ in range(1000):
            mount, _ = await watched.look()
            if mount.state == "ok":
                return
            await asyncio.sleep(0.01)
        raise AssertionError(mount)

    asyncio.run(scenario())


def test_a_look_that_breaks_is_a_part_that_failed() -> None:
    def breaks() -> Part:
        raise RuntimeError("secret")

    (part,) = asyncio.run(Readiness({"mount": breaks}).look())
    assert part.state == "failed"
    assert part.says == "it cannot be looked at: RuntimeError"
