"""Several objectives, a prior and a source on the digits: real training, real OpenVINO, a kill."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stillhouse import Client, ConnectionFailed
from stillhouse_optimizer import Observation, propose
from stillhouse_service.built_network import built_network
from stillhouse_service.database import open_engine
from stillhouse_service.incumbents import observed, problem_of
from stillhouse_service.store import Store, UnitOfWork
from stillhouse_service.tables import TrialRow
from stillhouse_service.transfers import sources_of

# Nine trainings and two starts of a server that imports torch take two minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TEMPLATE = """\
version: 1
pruners:
  filters:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.8, default: 0.3, prior: {center: 0.5, width: 0.1}}
    weights: [layer1.0.conv1.weight, layer2.0.conv1.weight]
policies:
  - pruner: {instance_name: filters}
    starting_epoch: 0
    ending_epoch: 2
    frequency: 1
"""
N_TRIALS = {"first": 5, "second": 4}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    return {
        **os.environ,
        "STILLHOUSE_DATABASE_URL": f"sqlite:///{tmp_path}/stillhouse.db",
        "STILLHOUSE_ARTIFACT_DIR": str(tmp_path / "artifacts"),
        "STILLHOUSE_LOCK_DIR": str(tmp_path / "lock"),
        "STILLHOUSE_PORT": str(port),
        "STILLHOUSE_N_THREADS": "1",
        "STILLHOUSE_LEASE_S": "10",
    }


@pytest.fixture
def spawn(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    begun: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen([sys.executable, "-m", *command], env=environment))
        return begun[-1]

    yield start
    for process in begun:
        process.terminate()
    for process in begun:
        process.wait(timeout=30)


def _until(is_so: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            if is_so():
                return
        except ConnectionFailed:
            pass
        time.sleep(0.2)
    raise AssertionError(f"waited in vain for {what}")


def _as_first_measured(view: UnitOfWork, trial: TrialRow) -> Observation:
    """A trial as the search knew it: the winner's latency is measured again at the end."""
    first = view.trials.measurements_of(trial.id)[0]
    return replace(observed(trial), metrics={**(trial.metrics or {}), **first.metrics})


def _spec(name: str, baseline: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "baseline": baseline,
        "device": "CPU",
        "template": TEMPLATE,
        "training": "epochs: 2\nrecovery_epochs: 0\neffective_train_size: 0.02\n"
        "lr: !float {low: 0.001, high: 0.1, log: true, default: 0.01}\n",
        "objectives": ["latency_ratio", "top1_drop"],
        "constraints": ["top1_drop <= 0.9"],
        "budget": {"trials": N_TRIALS[name]},
        "optimizer": {"n_initial": 3},
        "timing": {"time_limit_s": 0.2, "n_compilations": 1, "max_aa_deviation": 10.0},
    } | changes


def test_front_prior_and_source_on_the_digits_with_a_kill_in_between(
    environment: dict[str, str], spawn: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{environment['STILLHOUSE_PORT']}"
    server = spawn("stillhouse_service.cli", "serve")
    with Client(url) as client:
        _until(lambda: client.studies.list() == [], "the server")
        host = ("--server", url, "--device", "CPU", "--name", "edge", "--quiet")
        spawn("stillhouse_benchmark.worker", *host, "--cache-dir", str(tmp_path / "cache"))
        recipe = {"epochs": 1, "effective_train_size": 0.1}
        baseline = client.baselines.create("resnet20_cifar", "digits", recipe)
        assert client.baselines.wait(baseline.id).state == "complete"
        first = client.studies.create(_spec("first", baseline.id)).id
        _until(lambda: client.studies.get(first).counts["complete"] >= 2, "two trials")
        server.kill()
        server.wait()
        spawn("stillhouse_service.cli", "serve")
        _until(lambda: client.studies.get(first).is_over, "the first study's end")
        second = client.studies.create(_spec("second", baseline.id, transfer=[first])).id
        _until(lambda: client.studies.get(second).is_over, "the second study's end")
        assert [client.studies.get(one).state for one in (first, second)] == ["finished"] * 2
        front = client.studies.front(first)
        told = client.studies.transfer(second)
        report = client.studies.report(first, "md")
    assert front.reference == {"latency_ratio": 1.0, "top1_drop": 0.9}
    assert len(front.hypervolume) == N_TRIALS["first"]
    assert front.points
    assert "## The front" in report
    weights = told["sources"][0]["weights"]
    assert set(weights) == {"latency_ratio", "top1_drop"}
    assert told["sources"][0]["n_within"] == N_TRIALS["first"]

    # What was proposed follows from the stored trials alone: the kill has changed nothing.
    engine = open_engine(environment["STILLHOUSE_DATABASE_URL"])
    with Store(engine).read() as view:
        for study_id in (first, second):
            study = view.studies.named(study_id)
            trials = view.trials.told_of(study_id)
            assert [trial.number for trial in trials] == list(range(len(trials)))
            cheap = built_network(
                study.spec["template"], study.spec["training"], "resnet20_cifar", "digits"
            )
            for n in (len(trials) - 1, 3):
                history = [_as_first_measured(view, trial) for trial in trials[:n]]
                (again,) = propose(
                    problem_of(study),
                    history,
                    [],
                    seed=int(study.spec["seed"]),
                    cheap_features=cheap,
                    sources=sources_of(view, study),
                )
                assert again.config == trials[n].config
                assert dict(again.prediction) == trials[n].prediction
    engine.dispose()
