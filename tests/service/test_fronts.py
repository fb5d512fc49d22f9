"""Several objectives over real HTTP: the front, what it is measured from, and its winner."""

from typing import Any

import pytest

from stillhouse import Client, ProblemError
from stillhouse_service.report import front_figures, front_words

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
X = {"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.0}
Y = {"name": "y", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.0}
OUTSIDE = {
    "name": "two at once",
    "runner": "outside",
    "parameters": [X, Y],
    "objectives": ["seconds", "lost"],
    "constraints": ["lost <= 0.5"],
    "reference": {"seconds": 1.0},
    "budget": {"trials": 12},
    "optimizer": {"n_initial": 5},
}


def _measure(config: Any) -> dict[str, float]:
    """Its best, y = 0: seconds = 1 - x, lost = x^2."""
    return {"seconds": 1.0 - config["x"] + 0.2 * config["y"], "lost": config["x"] ** 2}


def _drive(client: Client, study: str, n: int) -> list[Any]:
    """Ask and tell one by one; give the configs."""
    configs = []
    for _ in range(n):
        (asked,) = client.studies.ask(study)
        configs.append((dict(asked.config), dict(asked.trial["prediction"])))
        client.trials.tell(asked, _measure(asked.config))
    return configs


@on_both
def test_the_front_is_what_no_other_trial_beats_and_its_volume_grows(server: Any) -> None:
    with Client(server.url) as client:
        study = client.studies.create(OUTSIDE)
        empty = study.front()
        assert (empty.points, empty.hypervolume) == ([], [])
        assert empty.reference == {"seconds": 1.0, "lost": 0.5}
        _drive(client, study.id, 12)
        found = client.studies.front(study.id)
        trials = [dict(trial.metrics or {}) for trial in study.trials()]
    kept = [(t["seconds"], t["lost"], i) for i, t in enumerate(trials) if t["lost"] <= 0.5]
    best = sorted(
        one
        for one in kept
        if not any(o[0] <= one[0] and o[1] <= one[1] and o[:2] != one[:2] for o in kept)
    )
    assert [point["number"] for point in found.points] == [i for _, _, i in best]
    shown = found.json
    assert shown["n_on_front"] == len(best) < len(shown["points"]) == 12
    assert {p["number"] for p in shown["points"] if not p["is_feasible"]} == {
        i for i, t in enumerate(trials) if t["lost"] > 0.5
    }
    # A staircase's area, from the right: each step reaches to the one before it.
    area, right = 0.0, 1.0
    for seconds, lost, _ in reversed([one for one in best if one[0] < 1.0]):
        area += (right - seconds) * (0.5 - lost)
        right = seconds
    volumes = [one["hypervolume"] for one in found.hypervolume]
    assert volumes[-1] == pytest.approx(area)
    assert volumes == sorted(volumes)
    assert volumes[-1] > volumes[4] > 0


def test_a_restart_in_mid_study_changes_no_proposal(serve: Any) -> None:
    first = serve()
    with Client(first.url) as client:
        whole = client.studies.create(OUTSIDE).id
        wanted = _drive(client, whole, 9)
        broken = client.studies.create(OUTSIDE).id
        found = _drive(client, broken, 6)
    first.stop()
    second = serve()
    with Client(second.url) as client:
        found += _drive(client, broken, 3)
        fronts = [client.studies.front(one).json["points"] for one in (whole, broken)]
    assert found == wanted
    assert "log_ehvi" in found[-1][1]
    assert [p["values"] for p in fronts[0]] == [p["values"] for p in fronts[1]]


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"objectives": ["seconds", "seconds"]}, "objectives[1]", "stands twice"),
        ({"objectives": ["a", "b", "c", "d"]}, "objectives", "one to 3"),
        ({"objectives": ["top1", "top1_drop"], "reference": None}, "objectives[1]", "the same as"),
        ({"objectives": ["lost", "joules"], "reference": None}, "objectives[1]", "give a limit"),
        ({"reference": {"joules": 1.0}}, "reference.joules", "no objective"),
        ({"objectives": ["seconds"]}, "reference", "several objectives"),
    ],
)
def test_objectives_that_make_no_front_are_refused_before_a_trial(
    server: Any, changes: dict[str, Any], path: str, words: str
) -> None:
    answer = server.http.post("/v1/studies", json=OUTSIDE | changes)
    assert answer.status_code == 422
    (problem,) = answer.json()["problems"]
    assert problem["path"] == path
    assert words in problem["message"]


def test_one_objective_has_no_front(server: Any) -> None:
    one = OUTSIDE | {"objectives": ["seconds"], "reference": None}
    with Client(server.url) as client:
        study = client.studies.create(one)
        with pytest.raises(ProblemError, match="one objective"):
            study.front()
        with pytest.raises(ProblemError, match="no study"):
            client.studies.front("std_none")


def test_an_objective_that_is_the_same_everywhere_is_told(server: Any, at: Any) -> None:
    with Client(server.url) as client:
        study = client.studies.create(OUTSIDE).id
        for _ in range(6):
            (asked,) = client.studies.ask(study)
            x: Any = asked.config["x"]
            client.trials.tell(asked, {"seconds": 1.0 - x / 2, "lost": 0.1})
        found = client.studies.front(study)
    assert found.constant == ["lost"]
    assert len(found.points) == 1
    code, out, _ = at("study", "front", study)
    assert code == 0
    assert "lost is the same in every trial" in " ".join(out.split())


def test_the_servers_own_study_measures_from_the_baseline_and_finalizes_any_point(
    server: Any, connect: Any, at: Any
) -> None:
    study = server.study(
        objectives=["latency_ratio", "top1_drop"], budget={"trials": 3}, optimizer={"n_initial": 3}
    )
    early = server.http.get(f"/v1/studies/{study}/front")
    assert early.status_code == 409 and "baseline" in early.json()["detail"]
    host = connect(server)
    lost = {0.5: 2, 0.6: 0, 0.9: 3}  # images of 300
    left, told = iter(lost), {}
    while server.get(f"/v1/studies/{study}")["state"] in ("checking", "running"):
        server.compute_all()
        answer = host.ask(0.2)
        if answer.status_code != 200:
            continue
        lease = answer.json()
        key = lease["job"]["candidate"]["sha256"]
        if key not in told:
            is_baseline = lease["job"]["candidate"] == lease["job"]["baseline"]
            told[key] = 1.0 if is_baseline else next(left)
        assert host.measure(lease, told[key], 294 - lost.get(told[key], 0)).status_code == 204
    found = server.get(f"/v1/studies/{study}/front")
    assert found["reference"] == {"latency_ratio": 1.0, "top1_drop": 0.02}
    front = [point for point in found["points"] if not point["is_dominated"]]
    assert [point["values"]["latency_ratio"] for point in front] == [0.5, 0.6]
    assert front[1]["values"]["top1_drop"] == pytest.approx(0.0)
    shown = server.get(f"/v1/studies/{study}")
    assert shown["incumbent"]["number"] in {point["number"] for point in front}

    code, out, _ = at("study", "front", study)
    assert code == 0
    assert out.startswith("2 trials lie on the front of Latency ratio and Top-1 lost")
    for form, words in (("md", "## The front"), ("html", "<h2>The front</h2>")):
        page = server.http.get(f"/v1/studies/{study}/report?format={form}").text
        assert words in page and "2 trials lie on the front" in page
    said = server.get(f"/v1/studies/{study}/report?format=json")
    assert said["front"]["n_on_front"] == 2

    chosen = next(p for p in front if p["trial_id"] != shown["incumbent"]["trial_id"])
    path = f"/v1/studies/{study}/finalize"
    beaten = next(p for p in found["points"] if p["is_dominated"])
    refused = server.http.post(path, json={"trial": "trl_none"})
    assert refused.status_code == 422 and "has no trial 'trl_none'" in refused.json()["detail"]
    assert beaten["is_feasible"]  # a beaten one keeps the limits: it may be wanted all the same
    code, out, _ = at("study", "finalize", study, "--trial", chosen["trial_id"])
    assert code == 0
    with server.store.read() as view:
        (case,) = next(iter(view.experiments.named(out.split()[-1]).cases.values()))
    assert case["name"] == f"trial {chosen['number']}"
    wanted = server.get(f"/v1/trials/{chosen['trial_id']}")["schedule"]
    assert case["schedule"]["pruners"] == wanted["pruners"]


def test_a_front_without_a_point_is_told_in_words() -> None:
    front = {
        "objectives": ["latency_ratio", "top1_drop"],
        "reference": {"latency_ratio": 1.0, "top1_drop": 0.02},
        "points": [],
        "hypervolume": [],
        "constant": [],
    }
    assert "no front of Latency ratio and Top-1 lost" in front_words.sentence(front)
    assert front_figures.front_plot(front) is None
    assert front_figures.volume_plot(front) is None
