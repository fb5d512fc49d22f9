"""The demo's processes and folder, with real processes and real locks."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stillhouse_service.demo_folder import DemoRuns, held_folder
from stillhouse_service.demo_processes import Child, ProcessDied, end_all, free_port, wait_for

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
# sleeps on through SIGTERM
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
STUBBORN = [sys.executable, "-c", f"{DEAF}; time.sleep(60)"]
# a demo in small: starts a child under the folder's lock, says its pid, waits
PARENT = """
import sys, time
from pathlib import Path
from stillhouse_service.demo_folder import held_folder
from stillhouse_service.demo_processes import Child
with held_folder(Path(sys.argv[1]), lambda: None) as folder:
    child = Child("sleeper", [sys.executable, "-c", sys.argv[2]], folder.path / "log", folder.lock)
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> int:
    return os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)


def is_up(child: Child) -> bool:
    return "up" in child.log.read_text()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_dead(pid: int, within_s: float) -> None:
    ends_at = time.monotonic() + within_s
    while is_alive(pid):
        assert time.monotonic() < ends_at, f"process {pid} lives on"
        time.sleep(0.05)


def test_a_process_that_ends_is_told_with_its_last_words(tmp_path: Path, lock: int) -> None:
    child = Child(
        "server",
        [sys.executable, "-c", "raise SystemExit('address in use')"],
        tmp_path / "server.log",
        lock,
    )
    with pytest.raises(ProcessDied, match=r"the server ended with status 1(.|\n)*address in use"):
        wait_for("the server", lambda: False, [child], timeout_s=20)


def test_waiting_for_something_that_never_comes_ends_and_names_the_log(
    tmp_path: Path, lock: int
) -> None:
    child = Child("server", SLEEPER, tmp_path / "server.log", lock)
    with pytest.raises(ProcessDied, match=r"did not come within 0 s; see .*server\.log"):
        wait_for("the server", lambda: False, [child], timeout_s=0.4)
    end_all([child])


def test_all_end_and_one_that_will_not_is_killed(tmp_path: Path, lock: int) -> None:
    children = [
        Child("sleeper", SLEEPER, tmp_path / "a.log", lock),
        Child("stubborn", STUBBORN, tmp_path / "b.log", lock),
    ]
    wait_for("both", lambda: all(map(is_up, children)), children, timeout_s=20)
    children[1].end(patience_s=0.3)
    end_all(children)
    assert not any(is_alive(child.pid) for child in children)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's alone")
def test_children_die_with_a_demo_that_is_killed_and_the_folder_is_held_until_then(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "demo"), SLEEPER[2]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        log = tmp_path / "demo" / "log"
        while "up" not in log.read_text():
            time.sleep(0.05)
        with (
            pytest.raises(DemoRuns, match="another demo is running"),
            held_folder(tmp_path / "demo", lambda: None, patience_s=0.3),
        ):
            pass
        os.kill(parent.pid, signal.SIGKILL)
    with held_folder(tmp_path / "demo", lambda: None, patience_s=10):
        wait_until_dead(child, within_s=1)


def test_an_unfinished_demo_goes_on_in_its_folder_and_a_finished_one_starts_anew(
    tmp_path: Path,
) -> None:
    root = tmp_path / "demo"
    seen = []
    for is_finished in (False, True, False, True, False):
        with held_folder(root, lambda: None) as folder:
            seen.append(folder.path)
            if is_finished:
                folder.summary.write_text("{}")
    assert seen == [root, root, root / "2", root / "2", root / "3"]


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))
