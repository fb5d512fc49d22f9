"""Trials of files and of earlier studies: checked against the space, learnt from, no winners."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse import Client, ProblemError

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
X = {"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}
MODE = {"name": "mode", "kind": "choice", "choices": ["off", True, 3, None], "default": "off"}
DEPTH = {
    "name": "depth",
    "kind": "int",
    "low": 1,
    "high": 4,
    "default": 2,
    "condition": [{"parent": "mode", "values": [3]}],
}
OUTSIDE = {
    "name": "outside",
    "runner": "outside",
    "parameters": [X, MODE, DEPTH],
    "forbidden": [{"mode": [True]}],
    "objectives": ["loss"],
    "constraints": ["size <= 5"],
    "budget": {"trials": 5},
    "optimizer": {"n_initial": 2},
}
TABLE = """\
x,mode,depth,loss,size,state
0.5,off,,0.3,4,
0.25,3,2,0.2,6,complete
0.75,null,,0.25,1,complete
1,off,,,,failed
"""


def _study(server: Any, **changes: Any) -> str:
    made = server.http.post("/v1/studies", json=OUTSIDE | changes)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


@on_both
def test_a_table_of_trials_is_told_to_a_study_that_is_run_outside(server: Any) -> None:
    study = _study(server)
    with Client(server.url) as client:
        assert client.studies.import_trials(study, csv=TABLE) == 4
        trials = client.studies.trials(study)
        assert [dict(one.config) for one in trials] == [
            {"x": 0.5, "mode": "off"},
            {"x": 0.25, "mode": 3, "depth": 2},
            {"x": 0.75, "mode": None},
            {"x": 1.0, "mode": "off"},
        ]
        assert [one.is_feasible for one in trials] == [True, False, True, None]
        assert {one.origin for one in trials} == {"imported"}
        shown = client.studies.get(study)
        assert shown.incumbent is not None
        assert shown.incumbent["trial_id"] == trials[2].id  # 0.25; that of 0.2 is too large
        assert (shown.counts["brought"], shown.counts["complete"]) == (4, 0)
        asked = client.studies.ask(study, 5)  # its budget is its own
        assert len(asked) == 5
        assert asked[0].number == 4
        assert asked[0].trial["origin"] == "model"


def test_every_problem_of_a_file_is_named_and_nothing_is_brought(server: Any) -> None:
    study = _study(server)
    good = {"config": {"x": 0.5, "mode": "off"}, "metrics": {"loss": 1.0, "size": 1.0}}
    trials = [
        good,
        {**good, "config": {"x": 7, "mode": "sideways", "y": 1}},
        {**good, "config": {"x": 0.5, "mode": "off", "depth": 2}},
        {**good, "config": {"x": 0.5, "mode": True}},
        {**good, "metrics": {"loss": "low", "size": 1.0}},
        {**good, "metrics": {"loss": 1.0}},
        {"config": {"mode": "off"}, "state": "failed"},
    ]
    path = f"/v1/studies/{study}/trials/import"
    answer = server.http.post(path, json={"trials": trials})
    assert answer.status_code == 422, answer.text
    assert [problem["path"] for problem in answer.json()["problems"]] == [
        "trials[1].config.x",
        "trials[1].config.mode",
        "trials[1].config.y",
        "trials[2].config.depth",
        "trials[3].config",
        "trials[4].metrics.loss",
        "trials[5].metrics.size",
        "trials[6].config.x",
    ]
    assert server.get(f"/v1/studies/{study}/trials")["items"] == []
    for text, said in (
        ("x,mode,my loss\n0.5,off,1\n", "column 'my loss'"),
        ("x,x\n1,1\n", "stands twice"),
        ("x,mode\n", "at least one line"),
        ('x,"mode\n1,1\n', "is no table"),
        ("x,mode,loss,size\n0.5,off,1\n", "3 cells"),
        ("x,mode,loss,size\n0.5,off,nan,1\n", "finite number"),
        ("x,mode,state\n0.5,off,gone\n", "no state 'gone'"),
    ):
        answer = server.http.post(path, json={"csv": text})
        assert answer.status_code == 422 and said in answer.json()["detail"], answer.text
    assert server.get(f"/v1/studies/{study}/trials")["items"] == []
    headers = {"Idempotency-Key": "import"}
    made = [server.http.post(path, json={"trials": [good]}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json() == made[1].json()
    assert len(server.get(f"/v1/studies/{study}/trials")["items"]) == 1


def test_any_table_is_refused_or_brought_whole(server: Any) -> None:
    study = _study(server)
    path = f"/v1/studies/{study}/trials/import"
    cells = st.sampled_from(["0.5", "1", "off", "3", "null", "", "nan", "x", "1e999", '"', "\r"])

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        header=st.lists(st.sampled_from(["x", "mode", "depth", "loss", "size", "state", "?"])),
        lines=st.lists(st.lists(cells, max_size=6), max_size=4),
    )
    def throw(header: list[str], lines: list[list[str]]) -> None:
        before = len(server.get(f"/v1/studies/{study}/trials")["items"])
        text = "\n".join(",".join(line) for line in [header, *lines])
        answer = server.http.post(path, json={"csv": text})
        assert answer.status_code in (201, 422), answer.text
        n = answer.json()["n"] if answer.status_code == 201 else 0
        assert len(server.get(f"/v1/studies/{study}/trials")["items"]) == before + n

    throw()


@on_both
def test_a_warm_start_is_learnt_from_and_never_wins(server: Any, connect: Any) -> None:
    first = server.study(budget={"trials": 3})
    host = connect(server)
    host.play(server, first, [0.2, 0.5, 0.6])
    assert server.get(f"/v1/studies/{first}")["incumbent"]["latency_ratio"] == 0.2
    second = server.study(budget={"trials": 2}, warm_start=[first], optimizer={"n_initial": 3})
    host.play(server, second, [0.7, 0.8])
    shown = server.get(f"/v1/studies/{second}")
    assert shown["incumbent"]["latency_ratio"] == 0.7  # 0.2 was measured elsewhere
    assert (shown["counts"]["complete"], shown["counts"]["brought"]) == (2, 3)
    trials = server.get(f"/v1/studies/{second}/trials")["items"]
    assert [(t["number"], t["origin"], t["is_feasible"]) for t in trials] == [
        (0, "foreign", None),
        (1, "foreign", None),
        (2, "foreign", None),
        (3, "model", True),  # three measured trials are enough for a model
        (4, "model", True),
    ]
    assert trials[0]["metrics"]["latency_ratio"] == 0.2
    events = server.get(f"/v1/studies/{second}/events")["items"]
    (note,) = [e for e in events if e["kind"] == "warm-start"]
    assert note["reason"].startswith(f"3 trials of {first}; its baseline was bsl_")
    found = server.get(f"/v1/studies/{second}/importance")
    assert found["n_trials"] == 2


def test_another_space_is_refused_with_what_differs(server: Any) -> None:
    first = _study(server)
    other = [{**X, "high": 0.9}, MODE, {**X, "name": "y"}]
    answer = server.http.post(
        "/v1/studies", json=OUTSIDE | {"parameters": other, "warm_start": [first]}
    )
    assert answer.status_code == 422
    (problem,) = answer.json()["problems"]
    assert problem == {
        "path": "warm_start[0]",
        "message": f"{first} has another space: depth is only there; y is only here; "
        "x.high is 1.0 there and 0.9 here",
    }


def test_files_are_brought_and_clones_begin_warm_from_the_command_line(
    at: Any, server: Any, tmp_path: Path
) -> None:
    study = _study(server)
    table, listed = tmp_path / "trials.csv", tmp_path / "trials.json"
    table.write_text(TABLE)
    trial = {"config": {"x": 0.1, "mode": "off"}, "metrics": {"loss": 0.9, "size": 1}}
    listed.write_text(json.dumps([trial]))
    assert at("study", "import", study, str(table)) == (0, f"4 trials brought into {study}\n", "")
    assert at("study", "import", study, str(listed))[0] == 0
    listed.write_text("{")
    status, _, said = at("study", "import", study, str(listed))
    assert status == 2 and "is no JSON" in said
    status, said, _ = at("study", "clone", study, "--warm", "--json")
    assert status == 0
    made = json.loads(said)
    assert made["counts"]["brought"] == 5
    assert made["incumbent"] is None
    with Client(server.url) as client, pytest.raises(ProblemError, match="is cancelled"):
        client.studies.cancel(study)
        client.studies.import_trials(study, [trial])
