"""What is installed from a wheel serves from any folder, with nothing of the checkout beside it."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from stillhouse import Client, ConnectionFailed
from stillhouse_service.demo_processes import Child, end_all, free_port, wait_for

pytestmark = pytest.mark.slow  # builds a wheel: a minute, and hatchling from the package index
ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The wheel's content, as an installation has it; dependencies come from this environment."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*command, str(ROOT)], check=True, timeout=240)
    (wheel,) = tmp_path.glob("stillhouse-*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(tmp_path / "site")
    return tmp_path / "site"


def test_an_installed_wheel_sets_up_its_database_and_serves_from_another_folder(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("PYTHONPATH", str(site))  # goes before the checkout
    where = [sys.executable, "-c", "import stillhouse_service; print(stillhouse_service.__file__)"]
    assert subprocess.check_output(where, text=True).startswith(str(site))

    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "stillhouse_service.cli", "serve", "--compute", "none"]
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    server = Child(
        "server", [*command, "--port", url.rsplit(":", 1)[1]], tmp_path / "server.log", lock
    )
    try:
        with Client(url) as client:

            def answers() -> bool:
                try:
                    return bool(client.health()["status"] == "ok")
                except ConnectionFailed:
                    return False

            wait_for("the server", answers, [server], timeout_s=120)
            assert "digits" in [dataset["name"] for dataset in client.datasets.list()]
    finally:
        end_all([server])
    assert (elsewhere / "stillhouse.db").exists()
