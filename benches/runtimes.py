"""A finished demo's trials, timed and judged again on both runtimes: do they tell the same?

Beside that what the demo's worker cost: its time beyond the jobs themselves, and its memory.

Depends on: a finished demo (`make demo`, or the folder that STILLHOUSE_DEMO names), this
environment's OpenVINO, and one with 2021.4.2 under Python 3.9 or 3.8: the tests make it in
build/, or STILLHOUSE_PYTHON_2021 names its interpreter. Exit status 1: they do not.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from record import Cell, record

from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.protocol import File, Job, JobSettings, Probe, Result
from stillhouse_benchmark.supervise import InferenceChild, Limits
from stillhouse_service.database import open_engine
from stillhouse_service.states import StudyState, TrialState
from stillhouse_service.store import Store

ROOT = Path(__file__).parent.parent
DEMO = Path(os.environ.get("STILLHOUSE_DEMO", "demo"))
SETTINGS = JobSettings()
LIMITS = Limits(job_s=600.0, silence_s=300.0)
MAX_IMAGES = 1  # on which the two may differ, a trial
ANSWERS = """
import sys, numpy as np
from pathlib import Path
from stillhouse_benchmark.backends import load_backend
net = load_backend("auto").compile(Path(sys.argv[1]), "CPU", "f32", 1)
told = []
for pixels in np.load(sys.argv[2]):
    image = (pixels[None].astype(np.float32) / np.float32(255) - MEAN) / STD
    net.write(image)
    net.infer()
    told.append(int(net.read().argmax()))
np.save(sys.argv[3], told)
"""


@dataclass(frozen=True)
class Trial:
    """A complete trial of the demo."""

    number: int
    artifacts: dict[str, str]
    baseline: dict[str, str]


class Demo:
    """A finished demo's files."""

    def __init__(self, folder: Path) -> None:
        self._artifacts = folder / "artifacts"
        engine = open_engine(f"sqlite:///{folder}/stillhouse.db")
        with Store(engine).read() as view:
            study_id = view.studies.ids_in([StudyState.FINISHED])[0]
            study = view.studies.named(study_id)
            baseline = view.baselines.of(study)
            self.overheads_s = []
            for row in view.log.measurements_of_study(study_id):
                attempt = view.stages.attempt(row.attempt_id)
                if attempt.finished_at is not None:
                    whole_s = (attempt.finished_at - attempt.started_at).total_seconds()
                    self.overheads_s.append(whole_s - float(row.result["duration_s"]))
            told = view.trials.told_of(study_id)
            self.trials = [
                Trial(t.number, dict(t.artifacts), dict(baseline.artifacts))
                for t in told
                if t.state == TrialState.COMPLETE
            ]

    def path(self, sha256: str) -> Path:
        """Where an artifact lies."""
        return self._artifacts / sha256[:2] / sha256

    def file(self, sha256: str) -> File:
        """An artifact as jobs name it."""
        return File(sha256, self.path(sha256).stat().st_size)


def main() -> int:
    """Time every trial on both; write ``results/runtimes.json``."""
    if not (DEMO / "stillhouse.db").is_file():
        print(
            f"NOT RUN: no demo in {DEMO}/; make demo, or let STILLHOUSE_DEMO name one",
            file=sys.stderr,
        )
        return 0
    demo = Demo(DEMO)
    pythons = {"openvino": sys.executable, "openvino2021": _old_python()}
    rows: list[list[Cell]] = []
    problems = []
    peaks_mb = dict.fromkeys(pythons, 0.0)
    for trial in demo.trials:
        found = {name: _measure(demo, trial, name, pythons[name], peaks_mb) for name in pythons}
        n_differ = _n_differ(demo, trial, pythons)
        new, old = found["openvino"], found["openvino2021"]
        row: list[Cell] = [trial.number]
        for result in (old, new):
            row += ["–", "–"] if result is None else [_shown(result), _correct(result)]
        rows.append([*row, n_differ])
        if n_differ > MAX_IMAGES:
            problems.append(f"trial {trial.number}: {n_differ} images differ")
        if old is not None and new is not None and not _agree(old, new):
            problems.append(f"trial {trial.number}: {_shown(old)} against {_shown(new)}")
        print(rows[-1], file=sys.stderr)
    columns = ("trial", "2021.4.2: ratio", "correct", "today: ratio", "correct", "images differ")
    app_mb = _app_peak_mb(demo.path(demo.trials[0].baseline["onnx"]))
    memory: list[list[Cell]] = [
        ["worker", _parent_peak_mb()],
        ["benchmark_app, today's runtime", app_mb],
    ]
    memory += [[f"inference process, {name}", peak_mb] for name, peak_mb in peaks_mb.items()]
    overheads = sorted(demo.overheads_s)
    overhead: list[list[Cell]] = [
        [len(overheads), statistics.median(overheads), overheads[0], overheads[-1]]
    ]
    n_told = sum("–" not in row for row in rows)
    record(
        "runtimes",
        {
            "trials": (columns, rows),
            "memory": (("process", "peak resident memory, MB"), memory),
            "overhead": (("jobs", "median, s", "least, s", "most, s"), overhead),
        },
        {"n_trials": len(rows), "n_timed_on_both": n_told, "problems": problems},
    )
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _measure(
    demo: Demo, trial: Trial, runtime: str, python: str, peaks_mb: dict[str, float]
) -> Result | None:
    """One job of default length; None where the host was too busy for its gate."""
    base, ours = trial.baseline, trial.artifacts
    job = Job(
        id=f"job_{trial.number}",
        kind="benchmark",
        device="CPU",
        precision="f32",
        candidate=demo.file(ours["onnx"]),
        baseline=demo.file(base["onnx"]),
        probe=Probe(
            demo.file(base["probe_inputs"]),
            demo.file(ours["probe_outputs"]),
            demo.file(base["probe_outputs"]),
        ),
        data=demo.file(base["data_validation"]),
        split="validation",
        settings=SETTINGS,
    )
    hashes = [*ours.values(), *base.values()]
    with tempfile.TemporaryDirectory() as name:
        errand: dict[str, Any] = {
            "job": job.to_json(),
            "files": {sha256: str(demo.path(sha256)) for sha256 in hashes},
            "work_folder": name,
            "rank_folder": f"{name}/ranks",
            "lock_folder": name,
        }
        child = InferenceChild(runtime, python=python)
        try:

            def look(stage: str, share: float) -> None:
                peaks_mb[runtime] = max(peaks_mb[runtime], _peak_mb(child.pid))

            result = child.run(errand, LIMITS, look, lambda: False)
        except JobFailed as failed:
            if failed.failure_class != "gate":
                raise
            print(f"trial {trial.number}, {runtime}: {failed.reason}", file=sys.stderr)
            return None
        finally:
            child.kill()
    assert isinstance(result, Result)
    return result


def _peak_mb(pid: int) -> float:
    """Highest resident memory of a process so far; 0 where it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def _parent_peak_mb() -> float:
    """Of a worker that has described its device and looks for its server in vain."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "stillhouse_benchmark", "--server", "http://127.0.0.1:9"]
        command += ["--device", "CPU", "--cache-dir", name, "--lock-dir", name]
        worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            time.sleep(10.0)
            return _peak_mb(worker.pid)
        finally:
            worker.terminate()
            worker.wait()


def _app_peak_mb(network: Path) -> float:
    """Of OpenVINO's own benchmark_app with the same network."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "network.onnx"
        path.write_bytes(network.read_bytes())
        command = [str(Path(sys.executable).parent / "benchmark_app"), "-m", str(path)]
        command += ["-d", "CPU", "-hint", "none", "-nstreams", "1", "-nthreads", "1"]
        command += ["-api", "sync", "-infer_precision", "f32", "-t", "2"]
        app = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(app.pid, 0)
        return usage.ru_maxrss / 1024


def _n_differ(demo: Demo, trial: Trial, pythons: dict[str, str]) -> int:
    """Validation images that the two runtimes put into different classes."""
    manifest = json.loads(demo.path(trial.baseline["data_validation"]).read_text())
    mean, std = (
        f"np.array({manifest[name]}, np.float32).reshape(1, -1, 1, 1)" for name in ("mean", "std")
    )
    code = ANSWERS.replace("MEAN", mean).replace("STD", std)
    n = 0
    with tempfile.TemporaryDirectory() as name:
        network = Path(name) / "network.onnx"
        network.write_bytes(demo.path(trial.artifacts["onnx"]).read_bytes())
        for shard in manifest["shards"]:
            told = []
            for runtime, python in pythons.items():
                out = f"{name}/{runtime}.npy"
                given = [str(network), str(demo.path(shard["sha256"])), out]
                environment = {**os.environ, "PYTHONPATH": str(ROOT / "benchmark")}
                subprocess.run([python, "-c", code, *given], check=True, env=environment)
                told.append(np.load(out))
            n += int((told[0] != told[1]).sum())
    return n


def _agree(one: Result, other: Result) -> bool:
    """Whether both ratios lie on the same side of 1 where either interval excludes it."""
    if not one.is_distinguishable and not other.is_distinguishable:
        return True
    return (one.latency_ratio < 1.0) == (other.latency_ratio < 1.0)


def _shown(result: Result) -> str:
    low, high = result.latency_ratio_low, result.latency_ratio_high
    return f"{result.latency_ratio:.3f} ({low:.3f} to {high:.3f})"


def _correct(result: Result) -> str:
    assert result.accuracy is not None  # its jobs judge
    counts = result.accuracy.candidate
    return f"{counts.top1_correct}/{counts.n_images}"


def _old_python() -> str:
    named = os.environ.get("STILLHOUSE_PYTHON_2021")
    found = [named] if named else sorted(map(str, ROOT.glob("build/openvino2021-*/bin/python")))
    if not found:
        raise SystemExit(
            "no environment with OpenVINO 2021.4.2: run tests/benchmark/test_openvino2021.py once, "
            "or let STILLHOUSE_PYTHON_2021 name an interpreter that has it"
        )
    return found[-1]


if __name__ == "__main__":
    sys.exit(main())
