"""What the service adds to a trial, beside compression and timing.

Depends on: httpx, uvicorn, the service.
"""

from __future__ import annotations

import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from sqlalchemy import event
from suites.filled_database import Filled

from stillhouse_optimizer.propose import propose
from stillhouse_service.app import build_app
from stillhouse_service.built_network import built_network
from stillhouse_service.incumbents import observed, problem_of
from stillhouse_service.settings import Settings
from stillhouse_service.store import Store
from stillhouse_service.tables import StageRow


@contextmanager
def own_server(url: str, folder: Path) -> Iterator[tuple[httpx.Client, Store]]:
    """A server in a thread of this process, and its store."""
    settings = Settings(database_url=url, artifact_dir=folder / "artifacts", compute="none")
    app = build_app(settings)
    sys.setswitchinterval(0.001)  # as `server.serve` does
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.02)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60
        ) as http:
            yield http, app.state.store
        server.should_exit = True
        thread.join(timeout=30)


def overheads(http: httpx.Client, filled: Filled, n: int) -> list[list[Any]]:
    """What the service adds to a trial, beside compression and timing."""
    http.headers["Stillhouse-Protocol"] = "1"
    device = {
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
    body: dict[str, Any] = {"name": "edge", "version": "1", "devices": [device]}
    known = http.post("/v1/workers", json=body).raise_for_status().json()
    ids = {"worker_id": known["id"], "device_id": known["devices"][0]["id"]}
    study = filled.run(n + 1)
    told, proposed, offered = [], [], []
    compute_waits = _hear_of_compute(filled.store)
    lease = http.post("/v1/leases", json={**ids, "wait_s": 30}).json()
    for _ in range(n):
        report = {"token": lease["token"], "result": _result()}
        path = f"/v1/leases/{lease['id']}/result"
        told.append(timed(partial(_told, http, path, report)))
        begun_s = time.perf_counter()
        with _ThreadedLease(http, ids) as waiting:  # the host asks again at once, as hosts do
            while not compute_waits.wait(1.0) and not filled.is_waiting():
                pass
            compute_waits.clear()
            proposed.append((time.perf_counter() - begun_s) * 1e3)
            filled.compute()
            computed_s = time.perf_counter()
            lease = waiting.result()
            offered.append((waiting.heard_s - computed_s) * 1e3)
    asked = _proposals(filled.store, study, n)
    asked_ms = statistics.median(asked)
    whole = [sum(parts) - asked_ms for parts in zip(told, proposed, offered, strict=True)]
    return [
        ["report -> told", *summary(told), None],
        ["told -> next trial's first stage", *summary(proposed), None],
        ["of that, the optimizer's proposal", *summary(asked), None],
        ["compressed -> job in the host's hand", *summary(offered), None],
        ["all but the proposal", *summary(whole), 100],
    ]


def _hear_of_compute(store: Store) -> threading.Event:
    """Give an event that is set when a stage for compute has been committed.

    Asking the database for it all the time would take the server's time.
    """
    is_added, is_committed = threading.Event(), threading.Event()

    def on_insert(_mapper: object, _connection: object, stage: StageRow) -> None:
        if stage.lane == "compute":
            is_added.set()

    def on_commit(_: object) -> None:
        if is_added.is_set():
            is_added.clear()
            is_committed.set()

    event.listen(StageRow, "after_insert", on_insert)
    store.on_commit(on_commit)
    return is_committed


def _proposals(store: Store, study_id: str, n: int) -> list[float]:
    """How long the optimizer took for each of the study's trials: asked again, by itself."""
    with store.read() as view:
        study = view.studies.named(study_id)
        baseline = view.baselines.of(study)
        history = [observed(trial) for trial in view.trials.told_of(study_id)]
    texts = study.spec["template"], study.spec["training"]
    features = built_network(*texts, baseline.model, baseline.dataset)

    def again(k: int) -> object:
        return propose(problem_of(study), history[:k], [], seed=0, cheap_features=features)

    return [timed(partial(again, k)) for k in range(1, n + 1)]


class _ThreadedLease:
    """A long poll for a job in a thread."""

    def __init__(self, http: httpx.Client, ids: Mapping[str, str]) -> None:
        self._http, self._ids = http, ids
        self._answer: dict[str, Any] = {}
        self.heard_s = 0.0
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        for _ in range(4):  # a machine that is busy with other things
            answer = self._http.post("/v1/leases", json={**self._ids, "wait_s": 30})
            self.heard_s = time.perf_counter()
            if answer.status_code != 204:
                break
        self._answer = answer.raise_for_status().json()

    def result(self) -> dict[str, Any]:
        """Wait for the lease."""
        self._thread.join(timeout=130)
        return self._answer

    def __enter__(self) -> _ThreadedLease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(timeout=130)


def _told(http: httpx.Client, path: str, report: Mapping[str, Any]) -> None:
    http.post(path, json=report).raise_for_status()


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


def timed(act: Callable[[], Any]) -> float:
    """Do something; give the milliseconds it took."""
    begun_s = time.perf_counter()
    act()
    return (time.perf_counter() - begun_s) * 1e3


def summary(times_ms: Sequence[float]) -> list[Any]:
    """Give how many there are, their median and their 95th percentile."""
    ranked = sorted(times_ms)
    return [len(ranked), statistics.median(ranked), ranked[int(0.95 * (len(ranked) - 1))]]
