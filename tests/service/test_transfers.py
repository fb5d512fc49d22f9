"""Studies that learn from ended ones over real HTTP: what is refused, shown, kept and repeated."""

from typing import Any

import pytest

from stillhouse import Client

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
X = {"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}
Y = {"name": "y", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}
Z = {"name": "z", "kind": "int", "low": 1, "high": 9, "default": 2}
OUTSIDE = {
    "name": "outside",
    "runner": "outside",
    "parameters": [X, Y],
    "objectives": ["loss"],
    "constraints": ["size <= 5"],
    "budget": {"trials": 10},
    "optimizer": {"n_initial": 4},
}


def _create(client: Client, **changes: Any) -> str:
    return client.studies.create(OUTSIDE | changes).id


def _drive(client: Client, study: str, n: int, shift: float = 0.0) -> list[Any]:
    """Ask and tell one by one; give configs and predictions."""
    asked_for = []
    for _ in range(n):
        (asked,) = client.studies.ask(study)
        config: Any = asked.config
        loss = 1.0 + (config["x"] - 0.3 - shift) ** 2 + 2.0 * (config["y"] - 0.8) ** 2
        client.trials.tell(asked, {"loss": loss, "size": 4.0 * config["x"] + 2.0 * config["y"]})
        asked_for.append((dict(config), dict(asked.trial["prediction"])))
    return asked_for


def _ended(client: Client, **changes: Any) -> str:
    """A study that has used its budget of 10 trials."""
    study = _create(client, **changes)
    _drive(client, study, 10)
    assert client.studies.ask(study) == []
    assert client.studies.get(study).state == "finished"
    return study


@on_both
def test_a_source_is_learned_from_and_its_weights_are_shown_and_kept(server: Any, at: Any) -> None:
    with Client(server.url) as client:
        source = _ended(client)
        study = _create(client, parameters=[X, Y, Z], transfer=[source])
        before = client.studies.transfer(study)
        assert before["sources"][0]["weights"] == {}
        assert (before["sources"][0]["shared"], before["sources"][0]["only_here"]) == (
            ["x", "y"],
            ["z"],
        )
        first = _drive(client, study, 8, shift=0.05)
        told = client.studies.transfer(study)
        trials = client.studies.trials(study)
        theirs = {(t.config["x"], t.config["y"]) for t in client.studies.trials(source)}
    # Among the first trials are the default, tried there too, and the source's best; what the
    # source lacks has this study's default.
    brought = [c for c, _ in first[:3] if (c["x"], c["y"]) in theirs]
    assert len(brought) >= 2
    assert [c["z"] for c in brought] == [2] * len(brought)
    assert [one["number"] for one in told["history"]] == [
        3,
        4,
        5,
        6,
        7,
    ]  # three of four: a source spares some
    weights = told["sources"][0]["weights"]
    assert set(weights) == {"loss", "size"}
    assert all(0.0 <= share <= 1.0 for share in weights.values())
    assert told["history"][-1]["weights"] == {source: weights}
    assert (told["sources"][0]["n_trials"], told["sources"][0]["n_within"]) == (10, 10)
    detail = server.get(f"/v1/trials/{trials[-1].id}")
    assert detail["transfer"] == {source: weights}
    assert server.get(f"/v1/trials/{trials[0].id}")["transfer"] == {}
    code, out, _ = at("study", "transfer", study)
    assert code == 0
    assert source in out and "2 of 3" in out and "10 of 10" in out


def test_a_restart_in_mid_study_changes_no_proposal(serve: Any) -> None:
    first = serve()
    with Client(first.url) as client:
        source = _ended(client)
        whole, broken = (_create(client, transfer=[source]) for _ in range(2))
        wanted = _drive(client, whole, 7)
        found = _drive(client, broken, 5)
    first.stop()
    second = serve()
    with Client(second.url) as client:
        found += _drive(client, broken, 2)
        shown = [client.studies.transfer(one)["history"] for one in (whole, broken)]
    assert found == wanted
    assert shown[0] == shown[1] != []


def test_a_source_that_says_nothing_is_refused_with_the_reason(server: Any) -> None:
    with Client(server.url) as client:
        source = _ended(client)
        running = _create(client)
    elsewhere = [{**X, "low": 2.0, "high": 3.0, "default": 2.5}, {**Y, "name": "w"}]
    choice = {"name": "x", "kind": "choice", "choices": [0.5, 1]}
    narrow = [{**X, "low": 0.49999, "high": 0.500001, "default": 0.5}]
    for changes, words in (
        ({"parameters": elsewhere}, "nothing in common with this one: there x, y, here x, w"),
        ({"parameters": [choice]}, "nothing in common"),
        ({"parameters": narrow}, "trials lie within this space"),
        ({"objectives": ["joules"]}, "only 0 of its 10 trials"),
        ({"transfer": ["std_none"]}, "no study 'std_none'"),
        ({"transfer": [source, source]}, "stands twice"),
        ({"transfer": [running]}, "is running: only a study that has ended"),
        ({"warm_start": [source]}, "would count twice"),
    ):
        answer = server.http.post("/v1/studies", json=OUTSIDE | {"transfer": [source]} | changes)
        assert answer.status_code == 422, changes
        problems = answer.json()["problems"]
        assert problems[-1]["path"].startswith("transfer["), problems
        assert words in problems[-1]["message"]
    answer = server.http.get(f"/v1/studies/{running}/transfer")
    assert answer.status_code == 409 and "learns from no other" in answer.json()["detail"]
