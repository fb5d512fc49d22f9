"""kill -9 of everything, at random moments, while a study runs: nothing is lost or doubled."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]  # ships no types
import pytest
from postgres_server import KILLABLE, Postgres
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from stillhouse_optimizer.propose import propose
from stillhouse_optimizer.spec import Observation
from stillhouse_service import attempts, outcomes
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.built_network import built_network
from stillhouse_service.database import open_engine
from stillhouse_service.incumbents import problem_of
from stillhouse_service.states import AttemptState, StageState, TrialState
from stillhouse_service.store import Store
from stillhouse_service.tables import AttemptRow, EventRow, MeasurementRow, StageRow, TrialRow

_PASSING = (httpx.TransportError, OperationalError)
# Every server is a fork of one process that has imported all: no start then imports torch.
_FORKS = """
import os, signal, sys
import stillhouse_optimizer.propose, stillhouse_service.built_network
import stillhouse_compression.models
from stillhouse_service.server import serve
from stillhouse_service.settings import Settings
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        serve(Settings.from_environment(os.environ))
        os._exit(0)
    print(pid, flush=True)
"""
_SERVE = _FORKS.replace("for line in sys.stdin:", "if True:").replace("os.fork()", "0")


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A Postgres of this test's own."""
    server = Postgres(KILLABLE)
    yield server
    server.stop()


@pytest.fixture
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    url = f"sqlite:///{tmp_path}/killed.db"
    if getattr(request, "param", "postgres") == "postgres":
        postgres = request.getfixturevalue("postgres")
        postgres.run("CREATE DATABASE killed")
        url = postgres.url("killed")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    return {
        **os.environ,
        "STILLHOUSE_DATABASE_URL": url,
        "STILLHOUSE_ARTIFACT_DIR": str(tmp_path / "artifacts"),
        "STILLHOUSE_COMPUTE": "none",
        "STILLHOUSE_PORT": str(port),
        "STILLHOUSE_N_THREADS": "1",
        "STILLHOUSE_LEASE_S": "1.5",
        "STILLHOUSE_RETRY_DELAY_S": "0",
        "STILLHOUSE_MAX_ATTEMPTS": "20",
        "STILLHOUSE_LOCK_DIR": str(tmp_path / "lock"),
    }


def _until(is_so: Callable[[], Any], what: str, timeout_s: float = 120.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            found = is_so()
        except _PASSING:
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def _is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


def _check(engine: Any, artifacts: ArtifactStore, study_id: str, n_trials: int) -> None:
    """Hold what the database says at the end against what must be so."""
    with Session(engine) as session:
        trials = list(
            session.scalars(
                select(TrialRow).where(TrialRow.study_id == study_id).order_by(TrialRow.number)
            )
        )
        assert [trial.number for trial in trials] == list(range(n_trials))
        assert {trial.state for trial in trials} == {TrialState.COMPLETE}
        stages = list(session.scalars(select(StageRow).where(StageRow.study_id == study_id)))
        assert {stage.state for stage in stages} == {StageState.DONE}
        for trial in trials:
            own = [s.kind for s in stages if s.trial_id == trial.id]
            assert (own.count("compress"), own.count("benchmark")) == (1, 1)
            for sha256 in trial.artifacts.values():
                artifacts.read(sha256)  # raises where it is missing or has another hash
        for stage in stages:
            tried = session.scalars(select(AttemptRow).where(AttemptRow.stage_id == stage.id))
            assert sum(one.state == AttemptState.SUCCEEDED for one in tried) == 1
        measured = session.scalars(
            select(MeasurementRow).where(MeasurementRow.study_id == study_id)
        )
        assert sorted(row.stage_id for row in measured) == sorted(
            stage.id for stage in stages if stage.lane == "device"
        )
        last: dict[str, str | None] = {}
        for line in session.scalars(
            select(EventRow).where(EventRow.kind != "incumbent").order_by(EventRow.id)
        ):
            assert line.before == last.get(line.subject), "the log has a gap"
            last[line.subject] = line.after
        for trial in trials:
            assert last[trial.id] == trial.state
        for stage in stages:
            assert last[stage.id] == stage.state
    with Store(engine).read() as view:
        study = view.studies.named(study_id)
        baseline = view.baselines.of(study)
        features = built_network(
            study.spec["template"], study.spec["training"], baseline.model, baseline.dataset
        )
        first = {
            row.trial_id: row.metrics
            for row in view.log.measurements_of_study(study_id)
            if row.purpose == "trial"  # measured again later, it is no longer what was known then
        }
        told = view.trials.told_of(study_id)
        history = [
            Observation(one.config, {**(one.metrics or {}), **first[one.id]}, "complete")
            for one in told
        ]
        for n, trial in enumerate(told):  # one at a time: what was known then is what came before
            (again,) = propose(
                problem_of(study),
                history[:n],
                [],
                seed=int(study.spec["seed"]),
                cheap_features=features,
            )
            assert dict(again.config) == trial.config, f"trial {n} came from another history"


class _Parties:
    """Compute and device host, played by the test, patient with whoever is dead just now."""

    def __init__(self, url: str, store: Store, artifacts: ArtifactStore, device: Any) -> None:
        self.http = httpx.Client(
            base_url=url, headers={"Stillhouse-Protocol": "1"}, timeout=10, verify=False
        )
        self._store, self._artifacts, self._device = store, artifacts, device
        self._ids: dict[str, str] | None = None
        self._lease: dict[str, Any] | None = None

    def compute(self) -> None:
        """Compress whatever waits; the files are made up."""
        with self._store.begin() as work:
            for stage in work.stages.waiting("compute", work.now, 10):
                attempt = attempts.start(work, stage, "scripted compute", None)
                attempts.succeed(work, attempt)
                names = ["weights", "onnx", "probe_inputs", "probe_outputs", "schedule"]
                names += ["data_validation", "data_test"]
                stored = {
                    name: self._artifacts.put(f"{name} {stage.id}".encode()) for name in names
                }
                made = {
                    "artifacts": {name: vars(one) for name, one in stored.items()},
                    "metrics": {"validation_top1": 0.98, "params": 1, "macs": 1, "onnx_bytes": 1},
                    "details": {},
                }
                take = outcomes.trained if stage.kind == "train" else outcomes.compressed
                take(work, stage, made)

    def measure(self, result: dict[str, Any], is_dying: bool) -> None:
        """Lease a job and report it, again and again until somebody has heard."""
        if self._ids is None:
            body: dict[str, Any] = {"name": "edge", "version": "1", "devices": [self._device]}
            known = self.http.post("/v1/workers", json=body).raise_for_status().json()
            self._ids = {"worker_id": known["id"], "device_id": known["devices"][0]["id"]}
        if self._lease is None:
            answer = self.http.post("/v1/leases", json={**self._ids, "wait_s": 0.05})
            if answer.status_code != 200:
                return
            self._lease = answer.json()
        if is_dying:  # the host is killed with a lease in its hand, and started anew
            self._lease = None
            return
        report = {"token": self._lease["token"], "result": result}
        answer = self.http.post(f"/v1/leases/{self._lease['id']}/result", json=report)
        if answer.status_code in (204, 409):
            self._lease = None


def test_a_study_survives_the_deaths_of_its_server_its_database_and_its_host(
    postgres: Postgres, environment: dict[str, str], tmp_path: Path, template: str, result: Any
) -> None:
    forks = subprocess.Popen(
        [sys.executable, "-c", _FORKS],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert forks.stdin is not None and forks.stdout is not None

    def start_server() -> int:
        assert forks.stdin is not None and forks.stdout is not None
        forks.stdin.write("\n")
        forks.stdin.flush()
        return int(forks.stdout.readline())

    chance = random.Random(6)
    n_trials, n_left = 6, 5
    url = f"http://127.0.0.1:{environment['STILLHOUSE_PORT']}"
    engine = open_engine(environment["STILLHOUSE_DATABASE_URL"])
    artifacts = ArtifactStore(tmp_path / "artifacts")
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
    parties = _Parties(url, Store(engine), artifacts, device)
    pid = 0
    try:
        assert forks.stdout.readline() == "ready\n"
        pid = start_server()
        _until(lambda: parties.http.get("/healthz").status_code == 200, "the server")
        wanted = {"model": "resnet20_cifar", "dataset": "digits"}
        baseline = parties.http.post("/v1/baselines", json=wanted).json()["id"]
        parties.compute()
        spec = {
            "name": "killed",
            "baseline": baseline,
            "device": "CPU",
            "template": template,
            "training": "epochs: 4\n",
            "constraints": ["top1_drop <= 0.02"],
            "budget": {"trials": n_trials},
        }
        study = parties.http.post("/v1/studies", json=spec).json()["id"]
        next_kill = time.monotonic() + chance.uniform(0.3, 0.8)
        deadline = time.monotonic() + 120

        def state() -> str:
            return str(parties.http.get(f"/v1/studies/{study}").json().get("state"))

        while True:
            try:
                parties.compute()
                parties.measure(result(chance.uniform(0.5, 1.1)), is_dying=chance.random() < 0.2)
                if state() == "finished" and n_left == 0:
                    break
            except (*_PASSING, httpx.HTTPStatusError):
                time.sleep(0.02)
            assert time.monotonic() < deadline
            if _is_gone(pid):
                # Its database died in the moment of its start. As docs/operations.md has it,
                # whoever runs a server starts it again.
                pid = start_server()
            if n_left and time.monotonic() > next_kill:
                if n_left % 2:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    _until(partial(_is_gone, pid), "the server's death")
                    pid = start_server()
                else:
                    postgres.kill()
                    postgres.start()
                n_left -= 1
                next_kill = time.monotonic() + chance.uniform(0.3, 0.8)
        _check(engine, artifacts, study, n_trials)
    finally:
        engine.dispose()
        parties.http.close()
        if pid and psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
        forks.stdin.close()
        forks.kill()
        forks.wait(timeout=10)
        forks.stdout.close()


@pytest.fixture
def spawn() -> Iterator[Callable[[list[str], dict[str, str]], psutil.Process]]:
    begun: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], environment: dict[str, str]) -> psutil.Process:
        begun.append(subprocess.Popen(command, env=environment))
        return psutil.Process(begun[-1].pid)

    yield start
    for process in begun:
        process.kill()
        process.wait(timeout=10)


@pytest.mark.slow  # half an hour: everything is real, and every restart imports torch
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("environment", ["sqlite", "postgres"], indirect=True)
@pytest.mark.parametrize(("n_trials", "n_kills"), [(8, 6), (60, 50)])
def test_a_study_survives_the_deaths_of_everything_real(
    request: pytest.FixtureRequest,
    environment: dict[str, str],
    tmp_path: Path,
    template: str,
    spawn: Callable[[list[str], dict[str, str]], psutil.Process],
    n_trials: int,
    n_kills: int,
) -> None:
    is_sqlite = environment["STILLHOUSE_DATABASE_URL"].startswith("sqlite")
    postgres = None if is_sqlite else request.getfixturevalue("postgres")
    _survive(postgres, environment, tmp_path, template, spawn, n_trials, n_kills)


def _survive(
    postgres: Postgres | None,
    environment: dict[str, str],
    tmp_path: Path,
    template: str,
    spawn: Callable[[list[str], dict[str, str]], psutil.Process],
    n_trials: int,
    n_kills: int,
) -> None:
    """Run a real study, a kill after each trial or so, and check it at its end."""
    chance = random.Random(6)
    environment["STILLHOUSE_COMPUTE"] = "embedded"
    environment["STILLHOUSE_LEASE_S"] = "10"  # the host beats every 1.7 s
    url = f"http://127.0.0.1:{environment['STILLHOUSE_PORT']}"
    server_command = [sys.executable, "-c", _SERVE]
    host_command = [sys.executable, "-m", "stillhouse_benchmark.worker", "--server", url]
    host_command += ["--device", "CPU", "--name", "edge", "--quiet"]
    host_command += ["--cache-dir", str(tmp_path / "cache"), "--lock-dir", str(tmp_path / "lock")]
    http = httpx.Client(base_url=url, timeout=10, verify=False)
    server = spawn(server_command, environment)
    _until(lambda: http.get("/healthz").status_code == 200, "the server")
    host = spawn(host_command, environment)
    recipe = {"epochs": 1, "effective_train_size": 0.1}
    wanted = {"model": "resnet20_cifar", "dataset": "digits", "recipe": recipe}
    baseline = http.post("/v1/baselines", json=wanted).json()["id"]

    def look(path: str) -> Any:
        return http.get(path).raise_for_status().json()

    _until(lambda: look(f"/v1/baselines/{baseline}")["state"] == "complete", "baseline", 300)
    spec = {
        "name": "killed",
        "baseline": baseline,
        "device": "CPU",
        "template": template.replace("ending_epoch: 3", "ending_epoch: 2"),
        # Of the template alone a study ends when all that its few networks can be were tried.
        "training": "epochs: 2\nrecovery_epochs: 0\neffective_train_size: 0.05\n"
        "lr: !float {low: 0.001, high: 0.1, log: true}\n",
        "budget": {"trials": n_trials},
        "timing": {"time_limit_s": 0.5, "n_compilations": 1, "max_aa_deviation": 10.0},
    }
    study = http.post("/v1/studies", json=spec).raise_for_status().json()["id"]

    def n_ended() -> int:
        found = look(f"/v1/studies/{study}")
        assert found["state"] in ("checking", "running", "finished"), found["reason"]
        return int(found["counts"]["complete"])

    def has_ended(n: int) -> bool:
        found = look(f"/v1/studies/{study}")
        n_complete = int(found["counts"]["complete"])
        assert found["state"] != "finished" or n_complete >= n, found["reason"]
        return n_complete >= n

    victims = ("server", "compute", "host", *(("postgres",) if postgres else ()))
    killed = dict.fromkeys(victims, 0)
    n_before = 0
    while sum(killed.values()) < n_kills:
        n_wanted = min(n_before + 1, n_trials)  # so that it gets on between the deaths
        _until(partial(has_ended, n_wanted), f"trial {n_wanted}", 300)
        n_before = n_ended() if n_ended() < n_trials - 3 else n_before
        time.sleep(chance.uniform(0.0, 3.0))
        victim = chance.choice(sorted(killed))
        killed[victim] += 1
        match victim:
            case "server":
                server.kill()
                server.wait(timeout=20)
                server = spawn(server_command, environment)
            case "host":
                host.kill()
                host.wait(timeout=20)
                host = spawn(host_command, environment)
            case "postgres":
                assert postgres is not None
                postgres.kill()
                postgres.start()
            case "compute":
                children = server.children(recursive=True)
                if children:
                    max(children, key=lambda one: int(one.memory_info().rss)).kill()
    _until(lambda: look(f"/v1/studies/{study}")["state"] == "finished", "the end", 900)
    http.close()
    engine = open_engine(environment["STILLHOUSE_DATABASE_URL"])
    _check(engine, ArtifactStore(tmp_path / "artifacts"), study, n_trials)
    engine.dispose()
    print(f"killed {killed}")
