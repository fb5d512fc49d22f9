"""A network that doubles every request or loses every tenth answer: nothing is lost or doubled."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from faulty_proxy import FaultyProxy
from sqlalchemy import select
from sqlalchemy.orm import Session

from stillhouse import Client
from stillhouse_benchmark.cache import Cache
from stillhouse_benchmark.client import Client as HostClient
from stillhouse_benchmark.loop import DeviceLoop
from stillhouse_benchmark.loop import Settings as LoopSettings
from stillhouse_benchmark.protocol import Device, Result
from stillhouse_benchmark.session import Session as HostSession
from stillhouse_service.states import AttemptState, StageState
from stillhouse_service.tables import AttemptRow, EventRow, MeasurementRow, StageRow

on_postgres = pytest.mark.parametrize("database", ["postgres"], indirect=True)
OUTSIDE = {
    "name": "outside",
    "runner": "outside",
    "parameters": [{"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}],
    "objectives": ["loss"],
    "budget": {"trials": 12},
    "optimizer": {"n_initial": 12},
}


@pytest.fixture
def proxy() -> Iterator[Callable[..., FaultyProxy]]:
    made: list[FaultyProxy] = []

    def start(server: Any, **faults: Any) -> FaultyProxy:
        made.append(FaultyProxy(server.url, seed=6, **faults))
        return made[-1]

    yield start
    for one in made:
        one.close()


def _check(server: Any, study: str, n_trials: int) -> None:
    """Every trial is complete, every stage done once, and the log has no gap."""
    trials = server.get(f"/v1/studies/{study}/trials")["items"]
    assert [trial["number"] for trial in trials] == list(range(n_trials))
    assert {trial["state"] for trial in trials} == {"complete"}
    with Session(server.app.state.engine) as session:
        stages = list(session.scalars(select(StageRow).where(StageRow.study_id == study)))
        assert {stage.state for stage in stages} == {StageState.DONE}
        for stage in stages:
            tried = session.scalars(select(AttemptRow).where(AttemptRow.stage_id == stage.id))
            assert sum(one.state == AttemptState.SUCCEEDED for one in tried) == 1
        measured = session.scalars(select(MeasurementRow).where(MeasurementRow.study_id == study))
        on_device = sorted(stage.id for stage in stages if stage.lane == "device")
        assert sorted(row.stage_id for row in measured) == on_device
        last: dict[str, str | None] = {}
        kinds = ["state", "stage", "attempt"]
        for line in session.scalars(
            select(EventRow).where(EventRow.kind.in_(kinds)).order_by(EventRow.id)
        ):
            assert line.before == last.get(line.subject), "the log has a gap"
            last[line.subject] = line.after


@on_postgres
def test_every_request_of_a_study_comes_twice(
    serve: Any, connect: Any, proxy: Callable[..., FaultyProxy], template: str
) -> None:
    server = serve(max_attempts=20)
    between = proxy(server, doubles_posts=True)
    with Client(between.url) as client:
        baseline = client.baselines.create("resnet20_cifar", "digits")
        server.compute_all()
        spec = server.spec(baseline=baseline.id, budget={"trials": 4}, optimizer={"n_initial": 4})
        study = client.studies.create(spec).id
        host = connect(server)
        host.http.base_url = httpx.URL(between.url)  # from now on everything comes twice
        assert host.register()["id"] == host.worker_id
        host.measure(host.lease())
        own = {"pruners.filters.final_sparsity": 0.25, "training.lr": 0.02}
        client.studies.pause(study)
        client.studies.enqueue(study, own)
        client.studies.set_priority(study, 3)
        client.studies.resume(study)
        host.play(server, study, [0.5, 0.6, 0.7, 0.8])
    assert between.n_doubled > 15
    assert len(server.get("/v1/baselines")["items"]) == 1
    assert len(server.get("/v1/studies")["items"]) == 1
    assert server.get(f"/v1/studies/{study}")["state"] == "finished"
    _check(server, study, 4)


def test_an_outside_study_of_which_every_request_comes_twice_and_answers_are_lost(
    server: Any, proxy: Callable[..., FaultyProxy]
) -> None:
    between = proxy(server, doubles_posts=True, loss=0.3)
    with Client(between.url) as client:
        study = client.studies.create(OUTSIDE).id
        told = {}
        while asked := client.studies.ask(study, n=2):
            for one in asked:
                told[one.id] = float(one.config["x"] or 0)
                client.trials.tell(one, {"loss": told[one.id]})
        assert client.studies.wait(study, poll_s=0.1).state == "finished"
    assert between.n_lost > 0
    _check(server, study, 12)
    trials = server.get(f"/v1/studies/{study}/trials")["items"]
    assert {trial["id"]: trial["metrics"]["loss"] for trial in trials} == told


@pytest.mark.slow  # minutes: real training, real inference
@pytest.mark.timeout(900)
def test_a_real_worker_behind_such_a_network_finishes_its_study(
    serve: Any, proxy: Callable[..., FaultyProxy], template: str, tmp_path: Path
) -> None:
    server = serve(compute="embedded", max_attempts=20, lease_s=10.0)
    between = proxy(server, loss=0.1)
    command = [sys.executable, "-m", "stillhouse_benchmark.worker", "--server", between.url]
    command += ["--device", "CPU", "--name", "edge", "--quiet"]
    command += ["--cache-dir", str(tmp_path / "cache"), "--lock-dir", str(tmp_path / "lock")]
    host = subprocess.Popen(command)
    try:
        with Client(between.url) as client:
            recipe = {"epochs": 1, "effective_train_size": 0.1}
            baseline = client.baselines.create("resnet20_cifar", "digits", recipe)
            assert client.baselines.wait(baseline.id).state == "complete"
            spec = {
                "name": "lossy",
                "baseline": baseline.id,
                "device": "CPU",
                "template": template.replace("ending_epoch: 3", "ending_epoch: 2"),
                "training": "epochs: 2\nrecovery_epochs: 0\neffective_train_size: 0.05\n",
                "budget": {"trials": 6},
                "timing": {"time_limit_s": 0.5, "n_compilations": 1, "max_aa_deviation": 10.0},
            }
            study = client.studies.wait(client.studies.create(spec).id)
        assert study.state == "finished", study.reason
    finally:
        host.terminate()
        host.wait(timeout=30)
    assert between.n_lost > 0
    _check(server, study.id, 6)


class _Scripted(DeviceLoop):
    """The real host but for its inference: leases, heartbeats, downloads, reports are its own."""

    def __init__(self, result: Any, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._result = result

    def _spare_child(self) -> Any:
        return None

    def _outcome(self, job: Any, heartbeat: Any, is_stopped: Callable[[], bool]) -> Result:
        for file in (job.candidate, job.baseline, job.probe.inputs):
            self._fetch_one(file, [file], is_stopped)
        return Result.from_json(self._result(), "result")


def test_a_worker_behind_a_network_that_loses_every_tenth_answer_finishes_its_study(
    serve: Any, proxy: Callable[..., FaultyProxy], result: Any, tmp_path: Path
) -> None:
    server = serve(max_attempts=20, lease_s=3.0)
    between = proxy(server, loss=0.1)
    n_trials = 10
    device = Device(
        name="CPU",
        kind="CPU",
        full_name="A device",
        runtime="openvino",
        runtime_version="2026.0.0",
        precisions=("f32",),
        max_opset=21,
        host="edge",
        capabilities=("benchmark",),
    )
    stop = threading.Event()
    loop = _Scripted(
        result,
        "CPU",
        HostSession(HostClient(between.url), "edge", "0.1.0", [device]),
        Cache(tmp_path / "cache", 100_000_000),
        LoopSettings(
            runtime="none",
            lock_folder=tmp_path / "lock",
            cache_folder=tmp_path / "cache",
            lease_wait_s=0.3,
        ),
        stop,
    )
    thread = threading.Thread(target=loop.serve)
    with Client(between.url) as client:
        spec = server.spec(budget={"trials": n_trials}, optimizer={"n_initial": n_trials})
        study = client.studies.create(spec).id
        thread.start()
        try:
            deadline = time.monotonic() + 120
            while client.studies.get(study).state in ("checking", "running"):
                assert time.monotonic() < deadline
                server.compute_all()
                time.sleep(0.05)
        finally:
            stop.set()
            thread.join(timeout=30)
    assert between.n_lost > 3
    assert server.get(f"/v1/studies/{study}")["state"] == "finished"
    _check(server, study, n_trials)
