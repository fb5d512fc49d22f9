"""The client against a real server; compute and the device host are scripted."""

import threading
from pathlib import Path
from typing import Any

import pytest

from stillhouse import Client, ProblemError, WaitTimeout
from stillhouse_service.study_file import study_spec_from_file

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def client(server: Any) -> Any:
    with Client(server.url) as client:
        yield client


def test_a_baseline_is_ordered_waited_for_and_listed(client: Client, server: Any) -> None:
    ordered = client.baselines.create("resnet20_cifar", "digits", {"epochs": 2}, seed=7)
    assert (ordered.state, ordered.is_over) == ("queued", False)
    with pytest.raises(WaitTimeout, match=ordered.id):
        client.baselines.wait(ordered.id, timeout_s=0.0, poll_s=0.01)
    server.compute_all()
    done = client.baselines.wait(ordered.id, timeout_s=10)
    assert (done.state, done.seed, dict(done.recipe)) == ("complete", 7, {"epochs": 2})
    assert [baseline.id for baseline in client.baselines.list()] == [ordered.id]


def test_a_study_lives_through_the_client_from_spec_to_downloaded_network(
    client: Client, server: Any, connect: Any, tmp_path: Path
) -> None:
    host = connect(server)
    study = client.studies.create(server.spec(budget={"trials": 3}))
    helper = threading.Thread(target=host.play, args=(server, study.id, [0.9, 0.7, 0.8]))
    helper.start()
    seen: list[str] = []
    ended = client.studies.wait(study.id, timeout_s=60, on_change=lambda s: seen.append(s.state))
    helper.join()
    assert (ended.state, seen[-1]) == ("finished", "finished")
    assert ended.incumbent is not None
    assert (ended.incumbent["number"], ended.incumbent["latency_ratio"]) == (1, 0.7)
    trials = client.studies.trials(study.id)
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert all(trial.is_over and trial.is_feasible for trial in trials)
    best = client.trials.get(ended.incumbent["trial_id"])
    assert [job["purpose"] for job in best.measurements] == ["trial", "confirm", "final"]
    path = tmp_path / "best.onnx"
    assert client.artifacts.download(best.artifacts["onnx"], path) == path.read_bytes()


def test_many_trials_come_over_several_pages_each_once(
    client: Client, server: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stillhouse.resources._PAGE_SIZE", 2)
    study_id = server.study(budget={"trials": 5})
    connect(server).play(server, study_id, [0.9] * 5)
    assert [trial.number for trial in client.studies.trials(study_id)] == [0, 1, 2, 3, 4]


def test_a_refused_study_carries_every_problem(client: Client, server: Any) -> None:
    with pytest.raises(ProblemError) as caught:
        client.studies.create(server.spec(device="TOASTER", constraints=["beauty >= 2"]))
    assert caught.value.status == 422
    assert {problem.path for problem in caught.value.problems} >= {"device", "constraints[0]"}


def test_pausing_cancelling_and_their_repetition(client: Client, server: Any, connect: Any) -> None:
    connect(server)
    study_id = server.study()
    assert client.studies.cancel(study_id).state == "cancelled"
    assert client.studies.cancel(study_id).state == "cancelled"
    with pytest.raises(ProblemError) as caught:
        client.studies.pause(study_id)
    assert caught.value.status == 409


def test_the_catalogues_are_listed(client: Client, server: Any, connect: Any) -> None:
    connect(server, kind="MYRIAD")
    assert "resnet20_cifar" in [model["name"] for model in client.models.list()]
    assert "digits" in [dataset["name"] for dataset in client.datasets.list()]
    assert [device["kind"] for device in client.devices.list()] == ["MYRIAD"]
    assert client.health()["status"] == "ok"


def test_the_digits_example_is_accepted_as_it_stands(
    client: Client, server: Any, connect: Any
) -> None:
    connect(server)
    spec = study_spec_from_file(EXAMPLES / "digits" / "study.yaml")
    wanted = spec["baseline"]
    baseline = client.baselines.create(**wanted)
    server.compute_all()
    study = client.studies.create(spec | {"baseline": baseline.id})
    kinds = [parameter["kind"] for parameter in study.parameters]
    assert len(kinds) >= 6
    assert "choice" in kinds
    assert study.spec["constraints"] == ["top1_drop <= 0.02"]
