"""The tree keeps the promises of docs/architecture.md."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_no_folder_shadows_the_standard_library() -> None:
    """Python 3.14 has a package named compression; a package of that name here would hide it."""
    assert not (ROOT / "compression" / "__init__.py").exists()
    assert not (ROOT / "tests" / "compression" / "__init__.py").exists()


def test_both_distributions_carry_one_version() -> None:
    root = tomllib.loads((ROOT / "pyproject.toml").read_text())
    edge = tomllib.loads((ROOT / "benchmark" / "pyproject.toml").read_text())
    assert root["project"]["version"] == edge["project"]["version"]


def test_the_device_host_depends_on_nothing() -> None:
    edge = tomllib.loads((ROOT / "benchmark" / "pyproject.toml").read_text())
    assert edge["project"]["dependencies"] == []


def test_torch_in_the_device_host_breaks_the_contract(tmp_path: Path) -> None:
    for folder in ("service", "optimizer", "compression", "benchmark"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    worker = tmp_path / "benchmark" / "stillhouse_benchmark" / "worker.py"
    worker.write_text(worker.read_text() + "\nimport torch\n")
    path = ":".join(str(tmp_path / f) for f in ("service", "optimizer", "compression", "benchmark"))
    lint = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run(
        [str(lint), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert answer.returncode != 0
    assert "the edge side stays light BROKEN" in answer.stdout
