"""The device host's timing: against OpenVINO's benchmark_app, and against itself.

Depends on: openvino with its benchmark_app, torch through stillhouse_compression for the networks.

``STILLHOUSE_BENCH_QUICK=1`` does few repetitions, to see that it runs.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import record

from stillhouse_benchmark.backends import load_backend
from stillhouse_benchmark.errors import JobFailed
from stillhouse_benchmark.interval import AGAIN, BASELINE, CANDIDATE, student_t_quantile
from stillhouse_benchmark.protocol import JobSettings
from stillhouse_benchmark.timing import Clocks, Infer, Measurement, measure, summarise
from stillhouse_compression.export import export_onnx
from stillhouse_compression.models import build, model_info

QUICK = bool(os.environ.get("STILLHOUSE_BENCH_QUICK"))
NETWORKS = ("resnet20_cifar", "vgg16_bn_cifar", "mobilenet_v2_cifar")[: 1 if QUICK else 3]
N_ALTERNATIONS = 2 if QUICK else 7
N_JOBS = {"resnet20_cifar": 2} if QUICK else {"resnet20_cifar": 100, "vgg16_bn_cifar": 20}
SETTINGS = JobSettings(time_limit_s=3.0, max_aa_deviation=10.0) if QUICK else JobSettings()
APP_S = 1 if QUICK else 5
N_THREADS = 1


def main() -> None:
    """Both comparisons; writes ``results/device.json``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = {network: _export(network, folder) for network in NETWORKS}
        against_app = [_against_app(network, paths[network], folder) for network in NETWORKS]
        against_self = [_against_self(network, paths[network]) for network in N_JOBS]
    record(
        "device",
        {
            "benchmark_app": (
                ("network", "alternations", "ratio of medians", "95 % interval", "p50, ms"),
                against_app,
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
                ),
                against_self,
            ),
        },
        {"n_threads": N_THREADS, "app_s": APP_S, "is_quick": QUICK},
    )


def _export(network: str, folder: Path) -> Path:
    path = folder / f"{network}.onnx"
    path.write_bytes(export_onnx(build(network).eval(), model_info(network).input_shape))
    return path


def _against_app(network: str, path: Path, folder: Path) -> list[str | float | int]:
    """Ratio of our p50 to benchmark_app's median, in turn, every time freshly compiled."""
    logs, ours_ms = [], []
    for _ in range(N_ALTERNATIONS):
        ours_ms.append(_our_p50_ms(path))
        logs.append(math.log(ours_ms[-1] / _app_median_ms(path, folder)))
    mean = statistics.fmean(logs)
    reach = student_t_quantile(0.975, len(logs) - 1) * statistics.stdev(logs) / len(logs) ** 0.5
    interval = f"{math.exp(mean - reach):.3f} to {math.exp(mean + reach):.3f}"
    return [network, len(logs), math.exp(mean), interval, statistics.median(ours_ms)]


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


def _against_self(network: str, path: Path) -> list[str | float | int]:
    """Default jobs whose candidate is the baseline: the truth is 1."""
    told: list[Measurement] = []
    seconds = []
    for _ in range(N_JOBS[network]):
        started_s = time.perf_counter()
        try:
            told.append(_job(path))
        except JobFailed as failed:
            print(failed.reason, file=sys.stderr)
        seconds.append(time.perf_counter() - started_s)
    estimates = [measured.estimate for measured in told]
    n = max(1, len(told))
    return [
        network,
        N_JOBS[network],
        len(told),
        f"{sum(abs(e.ratio - 1.0) <= 0.02 for e in estimates) / n:.0%}",
        f"{sum(e.low <= 1.0 <= e.high for e in estimates) / n:.0%}",
        statistics.median([e.half_width for e in estimates] or [math.nan]),
        statistics.median(seconds),
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
