"""A study's winner is trained anew at full length and judged on the test split."""

from typing import Any


def finished(server: Any, host: Any) -> str:
    """A study of two trials whose second wins."""
    study_id: str = server.study(budget={"trials": 2})
    host.play(server, study_id, [0.9, 0.7])
    assert server.get(f"/v1/studies/{study_id}")["state"] == "finished"
    return study_id


def test_the_winner_is_trained_at_full_length_and_measured_on_the_test_split(
    server: Any, connect: Any, at: Any
) -> None:
    host = connect(server)
    study_id = finished(server, host)
    before = server.get(f"/v1/studies/{study_id}")
    assert before["finalized"] is None
    assert f"stillhouse study finalize {study_id}" in report(server, study_id)
    made = server.http.post(f"/v1/studies/{study_id}/finalize", json={})
    assert made.status_code == 201, made.text
    experiment = made.json()
    assert (experiment["stage"], experiment["subject"]) == ("finalize", study_id)
    (own,) = experiment["studies"]
    assert server.get(f"/v1/studies/{study_id}")["finalized"]["state"] == "checking"

    splits = []
    while server.get(f"/v1/studies/{own['id']}")["state"] in ("checking", "running"):
        server.compute_all()
        answer = host.ask(wait_s=0.2)
        if answer.status_code == 200:
            lease = answer.json()
            splits.append(lease["job"]["split"])
            host.measure(lease, 0.75, n_correct=280)  # 14 of 300 lost: 0.047
    assert splits[-1] == "test"

    winner = server.get(f"/v1/trials/{before['incumbent']['trial_id']}")
    (trial,) = server.get(f"/v1/studies/{own['id']}/trials")["items"]
    again = server.get(f"/v1/trials/{trial['id']}")
    assert again["schedule"] == winner["schedule"]
    assert winner["training"]["epochs"] == 4
    # the default recipe has 8 epochs: what the schedule does not take is recovery
    assert (again["training"]["epochs"], again["training"]["recovery_epochs"]) == (4, 4)
    seeds = {t["seed"] for t in server.get(f"/v1/studies/{study_id}/trials")["items"]}
    assert trial["seed"] not in seeds

    found = server.get(f"/v1/studies/{study_id}")["finalized"]
    assert found["latency_ratio"] == 0.75
    assert found["top1_drop"] == 14 / 300
    # its own study has no limits; the finalised study's are what it is held against
    assert found["is_feasible"] is False
    assert list(found["violations"]) == ["top1_drop"]
    text = report(server, study_id)
    assert "finalized winner" in text
    assert "Trained anew for 8 epochs" in text
    assert "breaks the limit of Top-1 lost" in text
    assert server.get(f"/v1/studies/{study_id}")["incumbent"] == before["incumbent"]

    status, out, _ = at("study", "finalize", study_id, "--training", "recovery_epochs=9")
    assert (status, "experiment exp_" in out) == (0, True)
    assert server.get(f"/v1/studies/{study_id}")["finalized"]["training"]["recovery_epochs"] == 9


def test_only_a_study_that_has_ended_with_a_winner_is_finalised(server: Any, connect: Any) -> None:
    study_id = server.study()
    answer = server.http.post(f"/v1/studies/{study_id}/finalize", json={})
    assert answer.status_code == 409
    assert "finalize one that has ended" in answer.json()["detail"]
    server.http.post(f"/v1/studies/{study_id}/cancel")
    answer = server.http.post(f"/v1/studies/{study_id}/finalize", json={})
    assert answer.status_code == 409
    assert "no winner" in answer.json()["detail"]
    assert server.http.post("/v1/studies/std_no/finalize", json={}).status_code == 404


def test_a_training_that_does_not_fit_the_winner_is_refused(server: Any, connect: Any) -> None:
    study_id = finished(server, connect(server))
    body = {"training": {"epochs": 1}}  # its schedule prunes until epoch 3
    answer = server.http.post(f"/v1/studies/{study_id}/finalize", json=body)
    assert answer.status_code == 422
    assert "prunes until epoch 3" in answer.json()["problems"][0]["message"]


def report(server: Any, study_id: str) -> str:
    return str(server.http.get(f"/v1/studies/{study_id}/report").text)
