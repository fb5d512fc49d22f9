"""Where each of the server's settings comes from: command line, environment, stillhouse.toml.

Depends on: pydantic-settings. The first that names a setting wins; what nobody names has its
default. `Settings` itself says what makes sense.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from stillhouse_benchmark.logs import without_secrets
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.settings import Settings

FILE = "stillhouse.toml"
PREFIX = "STILLHOUSE_"
FILE_VARIABLE = f"{PREFIX}CONFIG"
DEFAULT = "default"
COMMAND_LINE = "command line"
NAMES = tuple(one.name for one in dataclasses.fields(Settings))
# What other programs of ours read.
_OTHERS = ("CONFIG", "DATA_DIR", "SERVER", "TOKEN")
_OTHER_KINDS = ("BENCH_", "DEMO", "PYTHON_", "REQUIRE", "TEST_")


@dataclass(frozen=True)
class Configuration:
    """The settings, and who chose them.

    Attributes:
        settings: What was chosen.
        origins: By a setting's name: `default`, `command line`, the variable, or file and line.
        file: The file that was read, if there was one.
        unknown: Variables that look like settings and are none, each with its nearest name.
    """

    settings: Settings
    origins: Mapping[str, str]
    file: Path | None
    unknown: Mapping[str, str]

    def shown(self, name: str) -> Any:
        """A setting's value, with its secrets hidden."""
        value = getattr(self.settings, name)
        return without_secrets(value) if isinstance(value, str) else value


class _Given(BaseSettings):
    """Settings as they are given: nothing but what was passed, and no unknown ones."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave it to `configured` to ask the sources, so that it knows which one told what."""
        return (init_settings,)


_KINDS: Mapping[str, Any] = {"str": str, "str | Path": str, "int": int, "float": float}
_MEMBERS: dict[str, Any] = {
    one.name: (_KINDS[str(one.type)] | None, None) for one in dataclasses.fields(Settings)
}
_Model: type[BaseSettings] = create_model("_Model", __base__=_Given, **_MEMBERS)


def configured(
    given: Mapping[str, Any] | None = None,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Configuration:
    """Put the settings together.

    Args:
        given: From the command line; what is None was not given.
        file: Named there; else the one of `STILLHOUSE_CONFIG`, else `./stillhouse.toml` where
            there is one.
        environment: Instead of the process's own; no file is looked for then.

    Raises:
        SpecRejected: A value is of another kind or makes no sense, the file is not there, is no
            TOML or has a setting that does not exist. Each problem names where it stands.
    """
    path = _file(file) if environment is None else file
    environment = os.environ if environment is None else environment
    of_file, lines = _of_file(path)
    of_environment = _of_environment(environment)
    of_command = {name: value for name, value in (given or {}).items() if value is not None}
    origins = dict.fromkeys(NAMES, DEFAULT)
    origins |= {name: f"{path}:{lines[name]}" for name in of_file}
    origins |= {name: f"{PREFIX}{name.upper()}" for name in of_environment}
    origins |= dict.fromkeys(of_command, COMMAND_LINE)
    try:
        read = _Model(**(of_file | of_environment | of_command))
    except ValidationError as error:
        raise SpecRejected(
            [
                Problem(_whose(str(one["loc"][0]), origins), f"{one['msg']}, got {one['input']!r}")
                for one in error.errors()
            ]
        ) from None
    chosen = {name: value for name, value in read.model_dump().items() if value is not None}
    try:
        settings = Settings(**chosen)
    except SpecRejected as refused:
        raise SpecRejected(
            [Problem(_whose(one.path, origins), one.message) for one in refused.problems]
        ) from None
    return Configuration(settings, origins, path, _unknown(environment))


def _file(named: Path | None) -> Path | None:
    """Choose the file.

    Raises:
        SpecRejected: One was named that is not there.
    """
    by = "--config"
    if named is None and os.environ.get(FILE_VARIABLE):
        named, by = Path(os.environ[FILE_VARIABLE]), FILE_VARIABLE
    if named is None:
        return Path(FILE) if Path(FILE).is_file() else None
    if not named.is_file():
        raise SpecRejected([Problem(by, f"there is no file {named}")])
    return named


def _of_file(path: Path | None) -> tuple[dict[str, Any], dict[str, int]]:
    """Read a file: its settings, and the line of each."""
    if path is None:
        return {}, {}
    try:
        found = TomlConfigSettingsSource(_Model, toml_file=path).toml_data
        text = path.read_text()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecRejected([Problem(str(path), f"is no TOML: {error}")]) from None
    except OSError as error:
        raise SpecRejected([Problem(str(path), f"cannot be read: {error.strerror}")]) from None
    lines = {name: _line_of(name, text) for name in found}
    strangers = [name for name in found if name not in NAMES]
    if strangers:
        raise SpecRejected([Problem(f"{path}:{lines[name]}", _no_such(name)) for name in strangers])
    return dict(found), lines


def _of_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(_Model)
    source.env_vars = {name.lower(): value for name, value in environment.items() if value != ""}
    return dict(source())


def _line_of(name: str, text: str) -> int:
    """Say on which line a file sets something; TOML's reader does not tell."""
    key = re.compile(rf"""^\s*\[*\s*["']?{re.escape(name)}["']?\s*[=.\]]""")
    lines = text.splitlines()
    return next((n for n, line in enumerate(lines, start=1) if key.match(line)), 1)


def _unknown(environment: Mapping[str, str]) -> dict[str, str]:
    """Find variables that nobody reads: a misspelt one would silently keep a default."""
    found = {}
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX)
        is_ours = variable.startswith(PREFIX) and name.lower() not in NAMES
        if is_ours and name not in _OTHERS and not name.startswith(_OTHER_KINDS):
            near = difflib.get_close_matches(name.lower(), NAMES, n=1)
            found[variable] = f"{PREFIX}{near[0].upper()}" if near else ""
    return found


def _no_such(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), NAMES, n=1)
    return f"there is no setting `{name}`" + (f"; did you mean `{near[0]}`" if near else "")


def _whose(name: str, origins: Mapping[str, str]) -> str:
    """Name a setting and where it was chosen."""
    origin = origins.get(name, DEFAULT)
    if origin.startswith(PREFIX):
        return origin
    return name if origin == DEFAULT else f"{name} ({origin})"
