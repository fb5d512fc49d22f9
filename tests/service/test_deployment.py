"""Dockerfile, compose.yaml and the systemd units, read against the tree that they deploy."""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from compose_services import ROOT, compose_file, dockerfile, image_environment

from stillhouse_benchmark import worker
from stillhouse_service.cli.app import app
from stillhouse_service.configuration import configured
from stillhouse_service.settings import Settings

UNITS = sorted((ROOT / "deploy").glob("*.service"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _commands() -> set[str]:
    named = [one.name or one.callback.__name__ for one in app.registered_commands if one.callback]
    return {*named, *(str(one.name) for one in app.registered_groups)}


def test_the_image_gets_every_folder_that_the_wheel_is_built_from() -> None:
    copied = {
        source
        for instruction, rest in dockerfile()
        if instruction == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    for source in copied:
        assert (ROOT / source).exists(), source
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    wanted = {Path(one).parts[0] for one in [*wheel["packages"], *wheel["force-include"]]}
    wanted |= {"pyproject.toml", PROJECT["project"]["readme"]}
    assert wanted <= copied
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    assert kept == copied


def test_the_image_installs_extras_that_exist_and_listens_where_the_server_does() -> None:
    (extras,) = re.findall(r"\.whl\)\[([a-z0-9,]+)\]", (ROOT / "Dockerfile").read_text())
    assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    assert dict(dockerfile())["EXPOSE"] == str(Settings().port)
    settings = Settings.from_environment(image_environment())
    assert not settings.is_local


def test_the_compose_file_names_what_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    file = compose_file()
    services = file["services"]
    assert set(services) == {"database", "scheduler", "worker", "server"}
    for name, service in services.items():
        assert set(service.get("depends_on", ())) <= set(services), name
        volumes = (
            [volume.split(":")[0] for volume in service["volumes"]] if "volumes" in service else []
        )
        assert set(volumes) <= set(file["volumes"]), name
        chosen = {k: str(v) for k, v in service.get("environment", {}).items()}
        assert configured(environment=chosen).unknown == {}, name
    for name in ("worker", "server"):
        assert services[name]["command"][0] in _commands()
    settings = Settings.from_environment(image_environment() | services["server"]["environment"])
    assert settings.compute == services["worker"]["command"][1]
    port = settings.compute.rpartition(":")[2]
    assert services["scheduler"]["command"][1] == port
    assert services["server"]["ports"] == [f"{settings.port}:{settings.port}"]
    # The scheduler runs whatever reaches it.
    assert "ports" not in services["scheduler"]


def test_a_password_must_be_chosen_and_is_the_same_on_both_sides() -> None:
    services = compose_file()["services"]
    chosen = services["database"]["environment"]
    assert chosen["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    url = services["server"]["environment"]["STILLHOUSE_DATABASE_URL"]
    user, name = chosen["POSTGRES_USER"], chosen["POSTGRES_DB"]
    assert url == f"postgresql://{user}:${{POSTGRES_PASSWORD}}@database/{name}"


def _directives(unit: Path) -> dict[str, str]:
    lines = [line for line in unit.read_text().splitlines() if "=" in line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_what_systemd_takes(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd here")
    program = shlex.split(_directives(unit)["ExecStart"])[0]
    here = tmp_path / Path(program).name
    here.write_text("#!/bin/sh\n")
    here.chmod(0o755)
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(program, str(here)))
    said = subprocess.run(
        ["systemd-analyze", "verify", str(copy)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    assert (said.returncode, said.stderr) == (0, "")


def test_the_units_start_programs_with_options_that_they_have() -> None:
    assert [unit.name for unit in UNITS] == ["stillhouse-worker.service", "stillhouse.service"]
    for unit in UNITS:
        program, *options = shlex.split(_directives(unit)["ExecStart"])
        assert Path(program).name in PROJECT["project"]["scripts"]
        if unit.name == "stillhouse.service":
            assert options == ["serve"]
        else:
            parsed: Any = worker._parser().parse_args(options)
            assert parsed.device == ["CPU"]
