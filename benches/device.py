"""The device host's timing: against OpenVINO's benchmark_app, and against itself.

Depends on: openvino with its benchmark_app, torch through stillhouse_compression for the networks.

Every alternation and every job is a line of ``results/device.runs.jsonl`` as soon as it is done: a
bench that was stopped, or that ``STILLHOUSE_BENCH_MINUTES`` ends, goes on from there the next time.
Delete the file to begin anew. ``STILLHOUSE_BENCH_QUICK=1`` does few repetitions and keeps none.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import RESULTS, Cell, record
from suites.resnet18 import INPUT_SHAPE, resnet18

from stillhouse_benchmark.backends import load_backend
from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.interval import AGAIN, BASELINE, CANDIDATE, student_t_quantile
from stillhouse_benchmark.protocol import JobSettings
from stillhouse_benchmark.timing import Clocks, Infer, Measurement, measure, summarise
from stillhouse_compression.export import export_onnx
from stillhouse_compression.models import build, model_info

QUICK = bool(os.environ.get("STILLHOUSE_BENCH_QUICK"))
NETWORKS = ("resnet20_cifar", "vgg16_bn_cifar", "resnet18")[: 1 if QUICK else 3]
N_ALTERNATIONS = 2 if QUICK else 7
N_JOBS = (
    {"resnet20_cifar": 2}
    if QUICK
    else {"resnet20_cifar": 100, "vgg16_bn_cifar": 20, "resnet18": 10}
)
SETTINGS = JobSettings(time_limit_s=3.0, max_aa_deviation=10.0) if QUICK else JobSettings()
APP_S = 1 if QUICK else 5
MINUTES = float(os.environ.get("STILLHOUSE_BENCH_MINUTES", "inf"))
RUNS = RESULTS / "device.runs.jsonl"
N_THREADS = 1
# Busy is a load of up to twice the processors. What a job gives above that is shown in a row of its
# own and does not count among those wanted: the machine is asked for more than it has.
BUSY = 2.0 * (os.cpu_count() or 1)


Run = dict[str, Any]


def main() -> None:
    """Both comparisons, as far as time goes; writes ``results/device.json``."""
    runs = Runs()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = {network: _export(network, folder) for network in NETWORKS}
        for network in NETWORKS:
            while runs.is_wanted("app", network, N_ALTERNATIONS):
                pair = {"ours_ms": _our_p50_ms(paths[network])}
                pair["app_ms"] = _app_median_ms(paths[network], folder)
                runs.add("app", network, pair)
        # In turn, so that a bench that is stopped has some of each.
        while any(runs.is_wanted("self", network, n) for network, n in N_JOBS.items()):
            for network, n in N_JOBS.items():
                if runs.is_wanted("self", network, n):
                    runs.add("self", network, _against_self(paths[network]))
    record(
        "device",
        {
            "benchmark_app": (
                ("network", "alternations", "ratio of medians", "95 % interval", "p50, ms", "load"),
                [_app_row(n, runs.of("app", n)) for n in NETWORKS if len(runs.of("app", n)) > 1],
            ),
            "a-a": (
                (
                    "network",
                    "jobs",
                    "told",
                    "within 2 %",
                    "interval holds 1",
                    "median half-width",
                    "median seconds",
                    "load",
                ),
                [
                    _self_row(network, some)
                    for network in N_JOBS
                    for some in _by_load(runs.of("self", network))
                    if some
                ],
            ),
        },
        {"n_threads": N_THREADS, "app_s": APP_S, "is_quick": QUICK},
    )


class Runs:
    """What has been measured so far, a line each."""

    def __init__(self) -> None:
        known = [] if QUICK or not RUNS.exists() else RUNS.read_text().splitlines()
        self._all: list[Run] = [json.loads(line) for line in known]
        self._ends_at = time.monotonic() + 60.0 * MINUTES

    def of(self, part: str, network: str) -> list[Run]:
        """The runs of one part with one network."""
        return [run for run in self._all if (run["part"], run["network"]) == (part, network)]

    def is_wanted(self, part: str, network: str, n: int) -> bool:
        """Whether there are fewer than ``n`` on no more than a busy machine, and time is left."""
        counted, _ = _by_load(self.of(part, network))
        return len(counted) < n and time.monotonic() < self._ends_at

    def add(self, part: str, network: str, found: Run) -> None:
        """Keep one run, with the load it was measured under."""
        load = round(os.getloadavg()[0], 2)
        run = {"part": part, "network": network, **found, "load_1m": load}
        self._all.append(run)
        print(run, file=sys.stderr)
        if not QUICK:
            with RUNS.open("a") as stream:
                stream.write(json.dumps(run) + "\n")


def _export(network: str, folder: Path) -> Path:
    path = folder / f"{network}.onnx"
    if network == "resnet18":
        path.write_bytes(export_onnx(resnet18(), INPUT_SHAPE))
    else:
        path.write_bytes(export_onnx(build(network).eval(), model_info(network).input_shape))
    return path


def _app_row(network: str, runs: list[Run]) -> list[Cell]:
    """Ratio of our p50 to benchmark_app's median, in turn, every time freshly compiled."""
    logs = [math.log(run["ours_ms"] / run["app_ms"]) for run in runs]
    mean = statistics.fmean(logs)
    reach = student_t_quantile(0.975, len(logs) - 1) * statistics.stdev(logs) / len(logs) ** 0.5
    interval = f"{math.exp(mean - reach):.3f} to {math.exp(mean + reach):.3f}"
    p50_ms = statistics.median(run["ours_ms"] for run in runs)
    return [network, len(logs), math.exp(mean), interval, p50_ms, _load(runs)]


def _by_load(runs: list[Run]) -> tuple[list[Run], list[Run]]:
    """Those on a quiet or busy machine, and those on one with more to do than it can."""
    counted = [run for run in runs if run["load_1m"] <= BUSY]
    return counted, [run for run in runs if run["load_1m"] > BUSY]


def _load(runs: list[Run]) -> str:
    """The load average over the runs."""
    loads = [run["load_1m"] for run in runs]
    return f"{min(loads):.1f} to {max(loads):.1f}"


def _our_p50_ms(path: Path) -> float:
    """The median of as many seconds as the app gets."""
    network = load_backend("openvino").compile(path, "CPU", "f32", N_THREADS)
    network.write(np.zeros(network.input_shape, dtype=np.float32))
    for _ in range(20):
        network.infer()
    walls, cpus = [], []
    until_s = time.perf_counter() + APP_S
    while time.perf_counter() < until_s:
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        network.infer()
        walls.append((time.perf_counter() - wall_s) * 1e3)
        cpus.append((time.process_time() - cpu_s) * 1e3)
    return summarise(np.array(walls), np.array(cpus)).p50_ms


def _app_median_ms(path: Path, folder: Path) -> float:
    command = [str(Path(sys.executable).parent / "benchmark_app"), "-m", str(path), "-d", "CPU"]
    command += ["-hint", "none", "-nstreams", "1", "-nthreads", str(N_THREADS), "-api", "sync"]
    command += ["-infer_precision", "f32", "-t", str(APP_S), "-report_type", "no_counters"]
    command += ["-json_stats", "-report_folder", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    report = json.loads((folder / "benchmark_report.json").read_text())
    return float(report["execution_results"]["latency (ms)"])


def _against_self(path: Path) -> Run:
    """A default job whose candidate is the baseline: the truth is 1."""
    started_s = time.perf_counter()
    try:
        found: Run = dataclasses.asdict(_job(path).estimate)
    except JobFailed as failed:
        print(failed.reason, file=sys.stderr)
        found = {}
    return {**found, "is_told": bool(found), "seconds": time.perf_counter() - started_s}


def _self_row(network: str, runs: list[Run]) -> list[Cell]:
    told = [run for run in runs if run["is_told"]]
    n = max(1, len(told))
    widths = [max(r["high"] / r["ratio"] - 1.0, 1.0 - r["low"] / r["ratio"]) for r in told]
    return [
        network,
        len(runs),
        len(told),
        f"{sum(abs(r['ratio'] - 1.0) <= 0.02 for r in told) / n:.0%}",
        f"{sum(r['low'] <= 1.0 <= r['high'] for r in told) / n:.0%}",
        statistics.median(widths or [math.nan]),
        statistics.median(run["seconds"] for run in runs),
        _load(runs),
    ]


def _job(path: Path) -> Measurement:
    backend = load_backend("openvino")

    def compile_networks() -> dict[str, Infer]:
        infers: dict[str, Infer] = {}
        for name in (CANDIDATE, BASELINE, AGAIN):
            network = backend.compile(path, "CPU", "f32", N_THREADS)
            network.write(np.zeros(network.input_shape, dtype=np.float32))
            infers[name] = network.infer
        return infers

    return measure(compile_networks, SETTINGS, Clocks())


if __name__ == "__main__":
    main()
