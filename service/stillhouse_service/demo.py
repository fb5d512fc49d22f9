"""The main job, end to end, on real data: server, device host, baseline, study, report.

Depends on: the client, rich; the checkout's `examples/digits`. Everything it starts speaks HTTP,
as in real life; all it keeps lies in one folder.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from stillhouse import Baseline, Client, ConnectionFailed, Study
from stillhouse_service.baseline_choice import choose_baseline
from stillhouse_service.demo_folder import DemoFolder, held_folder
from stillhouse_service.demo_outputs import summary, write_outputs, write_summary
from stillhouse_service.demo_processes import Child, end_all, free_port, wait_for
from stillhouse_service.demo_text import print_result
from stillhouse_service.errors import ServiceError
from stillhouse_service.report import wording
from stillhouse_service.study_file import study_spec_from_file
from stillhouse_service.training_line import TrainingLine
from stillhouse_service.watch import watch_study

_DEVICE = "CPU"
_START_S = 60.0


class DemoFailed(ServiceError):
    """The demo could not come to its end."""


def run_demo(
    console: Console,
    root: Path,
    example: Path,
    n_trials: int | None = None,
) -> Path:
    """Run the demo, or go on with one that was interrupted.

    Args:
        console: Where progress and result are shown.
        root: Folder of all demos; a finished one is left alone and the next is `root/<n>`.
        example: Folder with the study.yaml to run.
        n_trials: Instead of the budget in it; an interrupted study keeps its own.

    Returns:
        The summary.json of this run.

    Raises:
        SpecRejected: The example cannot be read.
        DemoRuns: Another demo runs in `root`.
        ProcessDied: The server or the device host ended; the message has its last words.
        DemoFailed: The study ended early, or without a feasible trial.
        KeyboardInterrupt: Ctrl-C or SIGTERM; everything it had started has ended.
    """
    began = time.monotonic()
    spec = study_spec_from_file(example / "study.yaml")
    if n_trials is not None:
        spec["budget"] = {"trials": n_trials}

    def on_wait() -> None:
        console.print("Waiting for an earlier demo's processes to end ...")

    children: list[Child] = []
    previous = signal.signal(signal.SIGTERM, interrupted)
    try:
        with held_folder(root, on_wait) as folder:
            try:
                result = _run(console, folder, spec, children)
            finally:
                end_all(children)
        took = wording.duration(time.monotonic() - began)
        console.print(f"\nDone in {took}. Open {result.parent / 'report.html'} in a browser.")
        return result
    finally:
        signal.signal(signal.SIGTERM, previous)


def _run(console: Console, folder: DemoFolder, spec: dict[str, Any], children: list[Child]) -> Path:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url) as client:
        start_server(console, client, folder, children)
        start_device_host(console, client, folder, children)

        def check() -> None:
            for child in children:
                child.check()

        try:
            baseline = _baseline(console, client, spec, check)
            study = _study(console, client, spec | {"baseline": baseline.id})
            study = watch_study(client, study.id, console, on_poll=check)
        except ConnectionFailed:
            check()  # the reason is in the log of the one that died
            raise
        if study.state != "finished":
            raise DemoFailed(
                f"study {study.id} is {study.state}: {study.reason or 'no reason was kept'}; "
                f"logs: {folder.path}/*.log; run the demo again to go on"
            )
        facts, importance, files = write_outputs(client, study, baseline, folder.path)
        files["summary"] = folder.summary
        print_result(console, facts, importance.json, files)
        write_summary(folder.summary, summary(facts, importance.json, files))
        if facts.winner is None:
            raise DemoFailed(f"no trial kept the limit; {files['report']} says what came nearest")
        return folder.summary


def start_server(
    console: Console, client: Client, folder: DemoFolder, children: list[Child]
) -> None:
    """Start the server that a client waits for, its database and artifacts in a folder."""
    console.print(f"Server at {client.url}, also for a browser (API page: {client.url}/docs)")
    command = [sys.executable, "-m", "stillhouse_service.cli", "serve"]
    command += ["--port", client.url.rsplit(":", 1)[1]]
    command += ["--database", f"sqlite:///{folder.path / 'stillhouse.db'}"]
    command += ["--artifacts", str(folder.path / "artifacts"), "--compute", "embedded"]
    children.append(Child("server", command, folder.path / "server.log", folder.lock))
    wait_for("the server", lambda: _answers(client), children, _START_S)


def start_device_host(
    console: Console, client: Client, folder: DemoFolder, children: list[Child]
) -> None:
    """Start a device host that offers this machine's processor to a client's server."""
    command = [sys.executable, "-m", "stillhouse_benchmark", "--server", client.url]
    command += ["--device", _DEVICE, "--name", "demo"]
    command += ["--cache-dir", str(folder.path / "worker-cache")]
    children.append(Child("device host", command, folder.path / "worker.log", folder.lock))
    wait_for("the device", lambda: _device(client) is not None, children, _START_S)
    device = _device(client) or {}
    console.print(f"Device host offers {device['kind']}: {device['full_name']}")


def _answers(client: Client) -> bool:
    try:
        return bool(client.health()["status"] == "ok")
    except ConnectionFailed:
        return False


def _device(client: Client) -> Any:
    return next((device for device in client.devices.list() if device["is_live"]), None)


def _baseline(
    console: Console, client: Client, spec: dict[str, Any], check: Callable[[], None]
) -> Baseline:
    """Give the example's baseline, trained if an earlier run has not."""
    if isinstance(spec["baseline"], str):
        return client.baselines.get(spec["baseline"])
    wanted = spec["baseline"]
    console.print(f"Baseline: {wanted['model']} on {wanted['dataset']}")
    line = TrainingLine(console)

    def on_change(baseline: Baseline) -> None:
        check()
        line.tell(baseline)

    baseline = choose_baseline(client, wanted, on_change)
    line.tell(baseline)
    return baseline


def _study(console: Console, client: Client, spec: dict[str, Any]) -> Study:
    """Give the folder's unfinished study, or start one."""
    last = next(iter(client.studies.list()), None)
    if last is not None and (not last.is_over or last.state == "finished"):
        ended = sum(
            last.counts.get(state, 0) for state in ("complete", "failed", "unsupported", "stopped")
        )
        console.print(f"Going on with study {last.id}: {ended} of its trials have ended already")
        return client.studies.resume(last.id) if last.state == "paused" else last
    study = client.studies.create(spec)
    limits = ", ".join(spec.get("constraints", [])) or "no limit"
    console.print(f"Study {study.id}: {spec['budget']['trials']} trials, {limits}")
    return study


def interrupted(number: int, frame: FrameType | None) -> None:
    """Let SIGTERM end a run as Ctrl-C does."""
    raise KeyboardInterrupt
