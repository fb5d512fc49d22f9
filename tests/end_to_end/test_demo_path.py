"""The demo's whole path, in the small: real training, real OpenVINO, real HTTP, real kills.

One demo of four short trials is interrupted twice on its way: first its server is killed, then it
gets Ctrl-C. The third run brings it to its end; every test reads what that left behind.
"""

import csv
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov  # type: ignore[import-untyped]  # openvino ships no types
import pytest
import yaml

from stillhouse_compression.datasets import load

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
    pytest.mark.timeout(600),
]
ROOT = Path(__file__).parents[2]
EXAMPLE = Path(__file__).parent / "data" / "tiny"
N_TRIALS = 4
STILL_S = 150  # without any event, a demo hangs; the longest step takes ten on a quiet machine


@dataclass(frozen=True)
class Run:
    """How one run of the demo ended.

    Attributes:
        n_complete: Trials that were complete when it ended.
        left_over: Command lines of its processes that were still there five seconds later.
    """

    status: int
    output: str
    n_complete: int
    left_over: list[str]


@dataclass(frozen=True)
class Demo:
    """The demo's folder and the three runs."""

    folder: Path
    killed: Run
    interrupted: Run
    finished: Run

    @property
    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return summary

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return rows(self.folder, query)


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    if not (folder / "stillhouse.db").exists():
        return []
    with sqlite3.connect(f"file:{folder}/stillhouse.db?mode=ro", uri=True, timeout=10) as database:
        try:
            return database.execute(query).fetchall()
        except sqlite3.OperationalError:  # before the first migration
            return []


def processes(mark: str) -> dict[int, str]:
    """Give pid and command line of every live process that has `mark` in its environment."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_text(errors="replace"):
                command = (entry / "cmdline").read_text().replace("\0", " ")
                is_dead = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
                if not is_dead:
                    found[int(entry.name)] = command
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def run_demo(folder: Path, mark: str, interrupt: Any = None, n_before: int = 0) -> Run:
    """Run the demo; once it has `n_before` complete trials and one on its way, interrupt it."""
    environment = os.environ | {"STILLHOUSE_N_THREADS": "1", "STILLHOUSE_LOCK_DIR": mark}
    command = [sys.executable, "-m", "stillhouse_service.cli", "demo"]
    command += ["--folder", str(folder), "--example", str(EXAMPLE)]
    log = folder.parent / f"output-{n_before}.txt"
    with log.open("wb") as out:
        demo = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=ROOT
        )
        moved_at, last = time.monotonic(), None
        while demo.poll() is None:
            states = [state for (state,) in rows(folder, "select state from trial")]
            if interrupt and states.count("complete") >= n_before and "compressing" in states:
                interrupt(demo.pid, processes(mark))
                break
            if (now := rows(folder, "select max(id) from event")) != last:
                moved_at, last = time.monotonic(), now
            if time.monotonic() - moved_at > STILL_S:
                pytest.fail(why_it_stands_still(folder, log, mark))
            time.sleep(0.1)
        status = demo.wait(timeout=300)
    n_complete = len(rows(folder, "select id from trial where state = 'complete'"))
    ends_at = time.monotonic() + 5
    while (left := processes(mark)) and time.monotonic() < ends_at:
        time.sleep(0.2)
    return Run(status, log.read_text(), n_complete, list(left.values()))


def why_it_stands_still(folder: Path, output: Path, mark: str) -> str:
    """Tell all that can be learnt of a demo that hangs, and end it."""
    found = processes(mark)
    for pid, command in found.items():
        if "stillhouse_service.cli serve" in command or "stillhouse_benchmark " in command:
            os.kill(pid, signal.SIGUSR1)  # its stacks, into its log
        elif "multiprocessing.spawn" in command and "tracker" not in command:
            os.kill(pid, signal.SIGUSR1)  # a compute worker: into the server's log
    time.sleep(2)
    logs = [output, folder / "server.log", folder / "worker.log"]
    told = [f"{pid}: {command}" for pid, command in found.items()]
    told += [str(row) for row in rows(folder, "select * from event order by id desc limit 20")]
    told += [f"--- {log.name}\n{log.read_text()[-8000:]}" for log in logs if log.exists()]
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return f"nothing has happened for {STILL_S} s\n" + "\n".join(told)


def kill_server(_: int, found: dict[int, str]) -> None:
    (server,) = [pid for pid, command in found.items() if "stillhouse_service.cli serve" in command]
    os.kill(server, signal.SIGKILL)


def press_ctrl_c(demo: int, _: dict[int, str]) -> None:
    os.kill(demo, signal.SIGINT)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    home = tmp_path_factory.mktemp("demo")
    folder, mark = home / "demo", str(home / "lock")
    return Demo(
        folder=folder,
        killed=run_demo(folder, mark, kill_server, n_before=1),
        interrupted=run_demo(folder, mark, press_ctrl_c, n_before=2),
        finished=run_demo(folder, mark, n_before=N_TRIALS),
    )


def test_a_killed_server_ends_the_demo_in_words(demo: Demo) -> None:
    assert demo.killed.status == 1, demo.killed.output
    assert "the server ended with status -9" in demo.killed.output
    assert "Traceback" not in demo.killed.output


def test_ctrl_c_ends_the_demo_in_words(demo: Demo) -> None:
    assert demo.interrupted.status == 130, demo.interrupted.output
    assert "Going on with study" in demo.interrupted.output
    assert "finished trials are kept" in demo.interrupted.output
    assert "Traceback" not in demo.interrupted.output


def test_no_process_outlives_its_demo(demo: Demo) -> None:
    assert demo.killed.left_over == []
    assert demo.interrupted.left_over == []
    assert demo.finished.left_over == []


def test_an_interrupted_demo_comes_to_its_end_with_no_trial_lost_or_doubled(demo: Demo) -> None:
    assert demo.finished.status == 0, demo.finished.output
    assert 1 <= demo.killed.n_complete <= demo.interrupted.n_complete < N_TRIALS
    assert demo.rows("select count(*) from study") == [(1,)]
    assert demo.rows("select count(*) from baseline") == [(1,)]
    trials = demo.rows("select number, state from trial order by number")
    assert trials == [(number, "complete") for number in range(N_TRIALS)]
    measured = demo.rows("select trial_id from measurement where purpose = 'trial'")
    assert len(measured) == len(set(measured)) == N_TRIALS
    assert demo.rows("select count(*) from measurement where purpose = 'final'") == [(1,)]


def test_the_summary_says_what_the_database_holds(demo: Demo) -> None:
    summary = demo.summary
    assert (summary["n_trials"], summary["n_complete"], summary["n_failed"]) == (4, 4, 0)
    stored = [
        (number, json.loads(metrics), is_feasible)
        for number, metrics, is_feasible in demo.rows(
            "select number, metrics, is_feasible from trial order by number"
        )
    ]
    for _, metrics, is_feasible in stored:
        assert bool(is_feasible) == (metrics["top1_drop"] <= 0.3)
    best = min((m["latency_ratio"], n) for n, m, is_feasible in stored if is_feasible)
    winner = summary["winner"]
    assert (winner["validation"]["latency_ratio"], winner["number"]) == best
    n_bad = sum(not is_feasible for *_, is_feasible in stored)
    assert summary["share_infeasible"] == n_bad / N_TRIALS
    assert winner["validation"]["params"] < summary["baseline"]["params"]
    assert winner["validation"]["macs"] < summary["baseline"]["macs"]


def test_the_winners_network_scores_on_the_test_split_what_the_summary_says(demo: Demo) -> None:
    digits = load("digits")
    mean, std = (np.array(channels).reshape(3, 1, 1) for channels in (digits.mean, digits.std))
    network = ov.Core().compile_model(str(demo.folder / "winner.onnx"), "CPU")
    correct = 0
    for pixels, label in zip(digits.images["test"], digits.labels["test"], strict=True):
        image = ((pixels / 255 - mean) / std).astype(np.float32)
        (logits,) = network(image[np.newaxis]).values()
        correct += int(np.argmax(logits)) == int(label)
    assert correct / 497 == pytest.approx(demo.summary["winner"]["test"]["top1"])


def test_the_winning_schedule_is_plain_yaml_with_the_winners_values(demo: Demo) -> None:
    text = (demo.folder / "winner.yaml").read_text()
    assert "!" not in text
    schedule = yaml.safe_load(text)
    config = demo.summary["winner"]["config"]
    sparsity = schedule["pruners"]["filters"]["final_sparsity"]
    assert sparsity == pytest.approx(config["pruners.filters.final_sparsity"])
    assert {p["pruner"]["instance_name"] for p in schedule["policies"]} == {
        "filters",
        *(["dense"] if config["policies.dense"] == "on" else []),
    }


def test_importance_of_four_trials_is_written_and_not_oversold(demo: Demo) -> None:
    importance = json.loads((demo.folder / "importance.json").read_text())
    assert importance["n_trials"] == N_TRIALS
    assert {found["verdict"] for found in importance["metrics"].values()} == {"not_enough"}
    with (demo.folder / "importance.csv").open() as lines:
        assert {row["parameter"] for row in csv.DictReader(lines)} == {""}
    assert "No ranking is shown" in demo.finished.output


def test_the_report_holds_the_winners_figures_and_loads_nothing(demo: Demo) -> None:
    page = (demo.folder / "report.html").read_text()
    ratio = demo.summary["winner"]["validation"]["latency_ratio"]
    assert f"latency ratio {ratio:.3f}" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page.split("<script", 1)[0])
    assert page.count("default-src 'none'") == 1


def test_the_output_names_every_file_it_wrote(demo: Demo) -> None:
    for path in demo.summary["files"].values():
        assert Path(path).is_file()
        assert path in demo.finished.output
