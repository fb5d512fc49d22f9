"""The services of compose.yaml as plain processes: its own commands and environment, no engine."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
_DATA = "/var/lib/stillhouse"
_SCHEDULER_PORT, _SERVER_PORT = "8786", "8470"
# What is on PATH inside the image.
_PROGRAMS = {
    "stillhouse": (sys.executable, "-m", "stillhouse_service.cli"),
    "dask": (sys.executable, "-m", "dask"),
    "python": (sys.executable,),
}


def compose_file() -> dict[str, Any]:
    """compose.yaml, its anchors resolved."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def dockerfile() -> list[tuple[str, str]]:
    """Every instruction of the Dockerfile with its arguments, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text()
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.M))
    lines = [line for line in joined.splitlines() if line.strip()]
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines]


def image_environment() -> dict[str, str]:
    """What the image itself sets."""
    found: dict[str, str] = {}
    for instruction, rest in dockerfile():
        if instruction == "ENV":
            found |= dict(one.split("=", 1) for one in rest.split())
    return found


class ComposeServices:
    """Starts services; what is a host name, a port or a folder there is one of this machine.

    Args:
        folder: Becomes the volume.
        database_url: Of the Postgres that plays `database`.
        ports: Free ones: of the scheduler, of the server.
        environment: Of every process, beside the file's own.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str,
        ports: tuple[int, int],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._services = compose_file()["services"]
        self._folder, self._ports = folder, ports
        self._database_url = database_url
        self._environment = {**os.environ, **(environment or {})}
        self.port = ports[1]
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a service as the file says, its log beside the volume's files."""
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self._command(name), env=self._of(name) | environment, stdout=log, stderr=log
            )
        self.running[name] = process
        return process

    def run(self, name: str, *command: str) -> str:
        """`docker compose run --rm NAME COMMAND`; gives what it printed."""
        whole = [*_PROGRAMS["stillhouse"], *command]
        return subprocess.check_output(whole, env=self._of(name), text=True)

    def is_healthy(self, name: str) -> bool:
        """Run the file's health check of a service."""
        kind, program, *arguments = self._services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        whole = [*_PROGRAMS[program], *(self._here(one) for one in arguments)]
        ended = subprocess.run(whole, env=self._of(name), check=False, capture_output=True)
        return ended.returncode == 0

    def log(self, name: str) -> list[dict[str, str]]:
        """A service's log, which is JSON a line."""
        lines = (self._folder / f"{name}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def stop(self) -> None:
        """End everything, the last started first."""
        for process in reversed(self.running.values()):
            process.terminate()
            try:
                process.wait(timeout=45)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _command(self, name: str) -> Sequence[str]:
        of_image = {kind: rest for kind, rest in dockerfile() if kind in ("ENTRYPOINT", "CMD")}
        service = self._services[name]
        program, *first = service.get("entrypoint", json.loads(of_image["ENTRYPOINT"]))
        rest = service.get("command", json.loads(of_image["CMD"]))
        return [*_PROGRAMS[program], *(self._here(one) for one in (*first, *rest))]

    def _of(self, name: str) -> dict[str, str]:
        chosen = image_environment() | self._services[name].get("environment", {})
        return self._environment | {
            **{key: self._here(str(value)) for key, value in chosen.items()},
            "STILLHOUSE_PORT": str(self._ports[1]),
        }

    def _here(self, text: str) -> str:
        if text.startswith("postgresql://"):
            return self._database_url
        text = text.replace(_DATA, str(self._folder)).replace("//scheduler:", "//127.0.0.1:")
        return text.replace(_SCHEDULER_PORT, str(self._ports[0])).replace(
            _SERVER_PORT, str(self._ports[1])
        )
