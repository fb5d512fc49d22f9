"""A device host whose measurements take no time: what it waits for is the server.

Depends on: httpx. Runs in a process of its own, as hosts do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import httpx

_DEVICE: dict[str, Any] = {
    "name": "CPU",
    "kind": "CPU",
    "full_name": "A device",
    "runtime": "openvino",
    "runtime_version": "2026.0.0",
    "precisions": ["f32"],
    "max_opset": 21,
    "host": "edge",
    "capabilities": ["benchmark"],
}


@dataclass(frozen=True)
class Told:
    """A report that the server has taken, by the clock that all processes share.

    Attributes:
        begun_s: When it was sent.
        told_s: When its answer was there.
    """

    begun_s: float
    told_s: float


def measure(url: str, n: int, told: Connection) -> None:
    """Take `n` jobs and report them; after each the next is asked for at once, as hosts do.

    Sends through `told` when it got its first job, then for each job a `Told` and when it got the
    next one.
    """
    with httpx.Client(base_url=url, timeout=60, headers={"Stillhouse-Protocol": "1"}) as http:
        body: dict[str, Any] = {"name": "edge", "version": "1", "devices": [_DEVICE]}
        known = http.post("/v1/workers", json=body).raise_for_status().json()
        ids = {"worker_id": known["id"], "device_id": known["devices"][0]["id"]}
        lease = _job(http, ids)
        told.send(time.perf_counter())
        for _ in range(n):
            report = {"token": lease["token"], "result": _result()}
            path = f"/v1/leases/{lease['id']}/result"
            begun_s = time.perf_counter()
            http.post(path, json=report).raise_for_status()
            told.send(Told(begun_s, time.perf_counter()))
            lease = _job(http, ids)
            told.send(time.perf_counter())


def _job(http: httpx.Client, ids: dict[str, str]) -> dict[str, Any]:
    for _ in range(4):  # a machine that is busy with other things
        answer = http.post("/v1/leases", json={**ids, "wait_s": 30}).raise_for_status()
        if answer.status_code != 204:
            break
    lease: dict[str, Any] = answer.json()
    return lease


def _result() -> dict[str, Any]:
    names = ("p25_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "cpu_p50_ms")
    timing = dict.fromkeys(names, 2.0) | {"sd_ms": 0.1, "n_runs": 200, "throughput_per_s": 500.0}
    counts = {"n_images": 300, "top1_correct": 294, "top5_correct": 300}
    agreement = {"max_abs": 1e-5, "max_rel": 1e-4, "top1_agreement": 1.0}
    return {
        "candidate": timing,
        "baseline": timing,
        "latency_ratio": 1.0,
        "latency_ratio_low": 0.99,
        "latency_ratio_high": 1.01,
        "is_distinguishable": False,
        "aa_ratio": 1.0,
        "is_gate_passed": True,
        "n_attempts": 1,
        "accuracy": {
            "candidate": counts,
            "baseline": counts,
            "n_disagree_candidate_only": 0,
            "n_disagree_baseline_only": 0,
        },
        "agreement": {"candidate": agreement, "baseline": agreement},
        "layers": [
            {"layer": f"layer{i}", "type": "Convolution", "candidate_ms": 0.1, "baseline_ms": 0.2}
            for i in range(20)
        ],
        "host": {
            "cpu_model": "A processor",
            "n_cpus": 2,
            "load_1m": 0.1,
            "runtime": "openvino",
            "runtime_version": "2026.0.0",
            "temperature_c": None,
        },
        "duration_s": 1.0,
    }
