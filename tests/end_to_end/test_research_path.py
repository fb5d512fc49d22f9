"""The research plan, real: training, OpenVINO, HTTP; killed twice, it goes on where it was."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="its processes die with it by prctl"),
    pytest.mark.slow,  # some twenty real trials: about two minutes on two quiet cores
    pytest.mark.timeout(900),
]
ROOT = Path(__file__).parents[2]
PLAN = Path(__file__).parent / "data" / "plan" / "experiment.yaml"


def _complete(folder: Path) -> list[str]:
    """Ids of the trials that are complete, whatever the state of the file."""
    if not (folder / "stillhouse.db").exists():
        return []
    with sqlite3.connect(f"file:{folder}/stillhouse.db?mode=ro", uri=True, timeout=10) as database:
        try:
            query = "select id from trial where state = 'complete' order by id"
            return [row[0] for row in database.execute(query)]
        except sqlite3.OperationalError:  # before the first migration
            return []


def _run(folder: Path, kill_after: int | None = None) -> tuple[int, str]:
    """Run the plan; kill the runner, SIGKILL, once so many trials are complete."""
    command = [sys.executable, "-m", "stillhouse_service.cli", "experiment", "run", str(PLAN)]
    command += ["--folder", str(folder)]
    environment = os.environ | {
        "STILLHOUSE_N_THREADS": "1",
        "STILLHOUSE_LOCK_DIR": str(folder.parent / "lock"),
    }
    log = folder.parent / f"log-{kill_after}.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=ROOT
        )
        while process.poll() is None:
            if kill_after is not None and len(_complete(folder)) >= kill_after:
                os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.2)
    return process.returncode, log.read_text()


def test_a_plan_that_is_killed_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    kept: set[str] = set()
    for n in (2, 7):
        status, text = _run(folder, kill_after=n)
        assert status == -signal.SIGKILL, text
        assert kept <= set(_complete(folder))
        kept = set(_complete(folder))
    status, text = _run(folder)
    assert status == 0, text
    assert "About" in text.split("verify")[1]  # plan and estimate come first
    assert kept <= set(_complete(folder))
    with sqlite3.connect(folder / "stillhouse.db") as database:
        query = "select study_id, config, count(*) from trial group by study_id, number"
        assert {n for *_, n in database.execute(query)} == {1}
        (n_sweeps,) = database.execute(
            "select count(*) from experiment where stage = 'sweep'"
        ).fetchone()
        assert n_sweeps == 1
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary["stages"]) >= {"verify", "baseline", "sweep", "combine"}
    page = (folder / "tiny.md").read_text()
    assert "## Stages 1b and 1c: each algorithm alone" in page
    assert "filters_l1/all/0.75" in page
