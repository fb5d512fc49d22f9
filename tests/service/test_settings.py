"""Settings from the command line, the environment, stillhouse.toml: which wins, who it was."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_benchmark.logs import without_secrets
from stillhouse_service.configuration import NAMES, configured
from stillhouse_service.errors import SpecRejected
from stillhouse_service.settings import Settings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*NAMES, "config"):
        monkeypatch.delenv(f"STILLHOUSE_{name.upper()}", raising=False)


def test_every_setting_can_be_set_by_its_name() -> None:
    settings = Settings.from_environment(
        {
            "STILLHOUSE_PORT": "9000",
            "STILLHOUSE_ARTIFACT_DIR": "/data/artifacts",
            "STILLHOUSE_LEASE_S": "12.5",
            "STILLHOUSE_COMPUTE": "tcp://scheduler:8786",
            "HOME": "/root",
        }
    )
    assert settings == Settings(
        port=9000,
        artifact_dir="/data/artifacts",
        lease_s=12.5,
        compute="tcp://scheduler:8786",
    )


def test_what_is_not_set_or_empty_keeps_its_default() -> None:
    assert Settings.from_environment({}) == Settings()
    assert Settings.from_environment({"STILLHOUSE_PORT": "", "STILLHOUSE_HOST": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "many"),
        ("PORT", "70000"),
        ("PORT", "8470.5"),
        ("N_THREADS", "0"),
        ("LEASE_S", "-1"),
        ("COMPUTE", "somewhere"),
        ("MAX_ATTEMPTS", "0"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SpecRejected) as refused:
        Settings.from_environment({f"STILLHOUSE_{name}": value})
    (problem,) = refused.value.problems
    assert problem.path == f"STILLHOUSE_{name}"
    assert value in problem.message


def test_every_setting_stands_in_the_manual_with_its_default() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
    rows = [line for line in manual.splitlines() if line.startswith("| `")]
    for one in fields(Settings):
        told = [line for line in rows if f"`{one.name.upper()}`" in line]
        assert told, f"{one.name} does not stand in docs/server.md"
        if one.name not in ("n_threads", "lock_dir"):  # their defaults depend on the machine
            default = getattr(Settings(), one.name)
            shown = f"{default:g}" if isinstance(default, float) else str(default)
            assert any(shown in row for row in told), one.name


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("stillhouse.toml").write_text('# ours\nport = 1\nhost = "a"\n\nlease_s = 9\n')
    monkeypatch.setenv("STILLHOUSE_PORT", "2")
    monkeypatch.setenv("STILLHOUSE_HOST", "b")
    found = configured({"port": 3, "host": None})
    settings = found.settings
    assert (settings.port, settings.host, settings.lease_s) == (3, "b", 9.0)
    assert found.origins["port"] == "command line"
    assert found.origins["host"] == "STILLHOUSE_HOST"
    assert found.origins["lease_s"] == "stillhouse.toml:5"
    assert found.origins["compute"] == "default"


def test_a_file_is_the_one_named_then_the_variables_then_the_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, port in (("named", 1), ("variables", 2), ("stillhouse", 3)):
        (tmp_path / f"{name}.toml").write_text(f"port = {port}\n")
    assert configured().settings.port == 3
    monkeypatch.setenv("STILLHOUSE_CONFIG", str(tmp_path / "variables.toml"))
    assert configured().settings.port == 2
    assert configured(file=tmp_path / "named.toml").settings.port == 1


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("prt = 1\n", "stillhouse.toml:1", "no setting `prt`; did you mean `port`"),
        ("\n[server]\nport = 1\n", "stillhouse.toml:2", "no setting `server`"),
        ('\nport = "many"\n', "port (stillhouse.toml:2)", "unable to parse string"),
        ("port = true\nlease_s = -1\n", "lease_s (stillhouse.toml:2)", "must be above 0"),
        ("host = [1]\n", "host (stillhouse.toml:1)", "valid string"),
        ("port = \n", "stillhouse.toml", "is no TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(text: str, path: str, message: str) -> None:
    Path("stillhouse.toml").write_text(text)
    with pytest.raises(SpecRejected) as refused:
        configured()
    problem = refused.value.problems[0]
    assert problem.path == path
    assert message in problem.message


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_file_that_was_named_and_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, run: Any, by: str
) -> None:
    option = ("--config", "nowhere.toml") if by == "option" else ()
    if by == "variable":
        monkeypatch.setenv("STILLHOUSE_CONFIG", "nowhere.toml")
    status, _, said = run("config", "show", *option)
    assert status == 2
    assert "there is no file nowhere.toml" in said


@given(st.text(max_size=200))
def test_no_file_breaks_the_reader(text: str) -> None:
    try:
        path = Path("any.toml")
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        configured(file=path, environment={})
    except SpecRejected as refused:
        assert all(problem.path and problem.message for problem in refused.problems)


def test_config_show_tells_values_and_origins_but_no_password(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("stillhouse.toml").write_text('artifact_dir = "s3://me:secret@bucket/x"\n')
    monkeypatch.setenv("STILLHOUSE_DATABASE_URL", "postgresql://me:secret@host/name")
    monkeypatch.setenv("STILLHOUSE_DATABSE_URL", "misspelt")
    status, said, _ = run("config", "show", "--json")
    assert status == 0
    told = json.loads(said)
    assert told["file"] == "stillhouse.toml"
    assert set(told["settings"]) == set(NAMES)
    database, artifacts = told["settings"]["database_url"], told["settings"]["artifact_dir"]
    assert database["value"] == "postgresql://me:***@host/name"
    assert database["origin"] == "STILLHOUSE_DATABASE_URL"
    assert artifacts == {"value": "s3://me:***@bucket/x", "origin": "stillhouse.toml:1"}
    assert told["settings"]["port"] == {"value": 8470, "origin": "default"}
    assert told["unknown"] == {"STILLHOUSE_DATABSE_URL": "STILLHOUSE_DATABASE_URL"}
    status, table, warned = run("config", "show")
    assert status == 0
    assert "STILLHOUSE_DATABSE_URL is no setting; did you mean STILLHOUSE_DATABASE_URL" in warned
    assert "secret" not in said + table + warned


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("postgresql://me:p@ss@host/x", "postgresql://me:***@host/x"),
        ("postgresql://host:1/x?password=secret&a=b", "postgresql://host:1/x?password=***&a=b"),
        ("s3://key:secret@bucket", "s3://key:***@bucket"),
        ("/srv/a:b@c", "/srv/a:b@c"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_passwords_of_urls_are_hidden(text: str, wanted: str) -> None:
    assert without_secrets(text) == wanted


def test_commands_beside_the_server_use_its_database(run: Any, tmp_path: Path) -> None:
    Path("stillhouse.toml").write_text(f'database_url = "sqlite:///{tmp_path}/ours.db"\n')
    assert run("token", "create", "anna", "--scope", "read")[0] == 0
    assert (tmp_path / "ours.db").is_file()
    assert "anna" in run("token", "list")[1]
    assert run("db", "status")[0] == 0
