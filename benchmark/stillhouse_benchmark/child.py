"""The inference process: loads one runtime, does one errand from standard input, ends.

Depends on: the standard library; numpy and the runtime through job.py and backends/. It is a
process of its own so that a driver that hangs or crashes takes nothing else with it. It dies with
its parent: by PDEATHSIG on Linux, and where that is missing by the end of its standard input.

One JSON line in, one of::

    {"describe": [device, ...], "host": name}    {"list": host}    {"self_test": device}
    {"temperature": device}
    {"check": path, "device": name}              {"accept": device, "path": path or null}
    {"survey": path, "device": name, "inputs": path, "outputs": path, "folder": path}
    {"job": Job or CheckJob, "files": {hash: path}, "work_folder", "rank_folder", "lock_folder"}

JSON lines out: ``{"ready": true}``, any number of ``{"progress": {...}}``, and last the answer,
``devices``, ``temperature``, ``self_test``, ``claims``, ``check``, ``survey``, ``result``,
``checked`` or ``failure``, or ``fatal``: a text.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Mapping

from stillhouse_benchmark.errors import BenchmarkError, JobFailed
from stillhouse_benchmark.protocol import CheckJob, Failure, read_job

PR_SET_PDEATHSIG = 1
NICE = -10


def main(arguments: list[str]) -> int:
    """Run the child: ``child.py RUNTIME PARENT_PID``."""
    runtime, parent = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _die_with(int(parent))
    with contextlib.suppress(OSError):
        os.nice(NICE)  # where we may: what else runs on the host should disturb as little as it can
    # Runtimes print to standard output; the parent reads JSON there.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(message: Mapping[str, object]) -> None:
        answers.write(json.dumps(message, allow_nan=False) + "\n")
        answers.flush()

    try:
        from stillhouse_benchmark.backends import load_backend

        backend = load_backend(runtime)
        say({"ready": True})
        line = sys.stdin.readline()
        if not line:
            return 0
        threading.Thread(target=_exit_at_end_of_input, daemon=True).start()
        errand = json.loads(line)
        if "describe" in errand:
            devices = [backend.describe(d, errand["host"]).to_json() for d in errand["describe"]]
            say({"devices": devices})
        elif "list" in errand:
            names = backend.device_names()
            say({"devices": [backend.describe(name, errand["list"]).to_json() for name in names]})
        elif "temperature" in errand:
            say({"temperature": {"c": backend.temperature_c(errand["temperature"])}})
        elif "self_test" in errand:
            from stillhouse_benchmark.selftest import self_test

            self_test(backend, errand["self_test"])
            say({"self_test": True})
        elif "accept" in errand:
            from stillhouse_benchmark.accept import Acceptance

            path = Path(errand["path"]) if errand["path"] else None
            claims = Acceptance(backend, errand["accept"], path).run()
            say({"claims": [claim.to_json() for claim in claims]})
        elif "check" in errand:
            from stillhouse_benchmark.preflight import preflight

            found = preflight(backend, Path(errand["check"]), errand["device"], None)
            say({"check": found.to_json()})
        elif "survey" in errand:
            say({"survey": _survey(backend, errand)})
        else:
            say(_do_job(backend, errand, say))
    except (BenchmarkError, RuntimeError) as error:
        say({"fatal": str(error)})
        return 1
    return 0


def _survey(backend: Any, errand: Mapping[str, Any]) -> Mapping[str, object]:
    """All forms of one network, or why the runtime refuses it."""
    import numpy as np

    from stillhouse_benchmark.survey import survey_to_device

    inputs, outputs = np.load(errand["inputs"]), np.load(errand["outputs"])
    path, folder = Path(errand["survey"]), Path(errand["folder"])
    try:
        stages = survey_to_device(backend, path, errand["device"], inputs, outputs, folder)
    except JobFailed as failed:
        failure = Failure(failed.failure_class, failed.stage, failed.reason, failed.layers)
        return {"failure": failure.to_json()}
    return {"stages": [stage.to_json() for stage in stages]}


def _do_job(backend: Any, errand: Mapping[str, Any], say: Any) -> Mapping[str, object]:
    """The last message of a job."""
    from stillhouse_benchmark.job import Bench, run_job
    from stillhouse_benchmark.preflight import check_networks

    stage = ["start"]

    def report(name: str, fraction: float) -> None:
        stage[0] = name
        say({"progress": {"stage": name, "fraction": round(fraction, 3)}})

    bench = Bench(
        backend=backend,
        files={sha: Path(path) for sha, path in errand["files"].items()},
        work_folder=Path(errand["work_folder"]),
        rank_folder=Path(errand["rank_folder"]),
        lock_folder=Path(errand["lock_folder"]),
    )
    try:
        job = read_job(errand["job"])
        if isinstance(job, CheckJob):
            checked = check_networks(job, backend, bench.files, bench.work_folder, report)
            return {"checked": checked.to_json()}
        return {"result": run_job(job, bench, report).to_json()}
    except JobFailed as failed:
        failure = Failure(failed.failure_class, failed.stage, failed.reason, failed.layers)
    except MemoryError as error:
        failure = Failure("out-of-memory", stage[0], f"out of memory: {error}")
    except OSError as error:
        failure = Failure("internal", stage[0], f"{type(error).__name__}: {error}")
    except RuntimeError as error:  # what both runtimes raise when a device gives up
        failure = Failure("device-fault", stage[0], f"{type(error).__name__}: {error}"[:600])
    except Exception as error:
        traceback.print_exc()
        failure = Failure("internal", stage[0], f"{type(error).__name__}: {error}"[:600])
    return {"failure": failure.to_json()}


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _exit_at_end_of_input() -> None:
    while sys.stdin.readline():
        pass
    os._exit(1)


if __name__ == "__main__":
    # The zipapp and an import by path have no finalisers worth waiting for: drivers hang in them.
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
