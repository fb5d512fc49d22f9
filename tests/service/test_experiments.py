"""Stages of the research plan, stored, over real HTTP; compute and device are scripted."""

import csv
import importlib.util
import io
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]  # has no types
import pytest

from stillhouse_compression.template import parse_template

TRAINING = {"epochs": 2, "recovery_epochs": 0}
GRID = [
    {"algorithm": "filters_l1", "layers": ["all"], "levels": [0.25, 0.5]},
    {"algorithm": "element_level", "layers": ["layer1.0.conv1"], "levels": [0.5]},
]


def spec_of(server: Any, **changes: Any) -> dict[str, Any]:
    spec = {
        "stage": "sweep",
        "name": "a sweep",
        "devices": ["CPU"],
        "grid": GRID,
        "training": TRAINING,
        "constraints": ["top1_drop <= 0.02"],
    } | changes
    if spec["stage"] != "combine" and "baselines" not in spec:
        spec["baselines"] = [server.baseline()]
    return spec


def start(server: Any, **changes: Any) -> dict[str, Any]:
    made = server.http.post("/v1/experiments", json=spec_of(server, **changes))
    assert made.status_code == 201, made.text
    experiment: dict[str, Any] = made.json()
    return experiment


def play(server: Any, host: Any, experiment: dict[str, Any], ratios: list[float]) -> Any:
    """Play compute and device until every study of an experiment is over."""
    for study in experiment["studies"]:
        host.play(server, study["id"], ratios)
    return server.get(f"/v1/experiments/{experiment['id']}")


@pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
def test_a_sweep_runs_its_cases_in_order_without_an_optimizer(server: Any, connect: Any) -> None:
    host = connect(server)
    experiment = start(server)
    assert (experiment["state"], experiment["n_trials"]) == ("running", 4)
    done = play(server, host, experiment, [1.0, 0.8, 0.6, 1.01])
    assert done["state"] == "finished"
    assert done["counts"]["complete"] == 4
    (study,) = done["studies"]
    trials = server.get(f"/v1/studies/{study['id']}/trials")["items"]
    assert [trial["config"]["case"] for trial in trials] == [
        "baseline",
        "filters_l1/all/0.25",
        "filters_l1/all/0.5",
        "element_level/layer1.0.conv1/0.5",
    ]
    assert {trial["origin"] for trial in trials} == {"listed"}
    assert [trial["metrics"]["latency_ratio"] for trial in trials] == [1.0, 0.8, 0.6, 1.01]
    # each case ran its own schedule with the sweep's training
    detail = server.get(f"/v1/trials/{trials[3]['id']}")
    pruner = detail["schedule"]["pruners"]["pruner"]
    assert pruner == {
        "class": "SparsityLevelParameterPruner",
        "levels": {"layer1.0.conv1.weight": 0.5},
    }
    assert detail["training"] == TRAINING
    # trials of an experiment are compared on the validation split, each as often as the others
    shown = server.get(f"/v1/studies/{study['id']}")
    assert (shown["final"], shown["experiment_id"]) == (None, experiment["id"])
    events = server.get(f"/v1/studies/{study['id']}/events")["items"]
    assert not [e for e in events if e["kind"] == "stage" and e["reason"] in ("confirm", "final")]


def test_baselines_are_measured_on_every_device(server: Any, connect: Any) -> None:
    cpu, gpu = connect(server), connect(server, "edge-2", "GPU")
    ids = [server.baseline(0), server.baseline(1)]
    experiment = start(
        server, stage="baseline", baselines=ids, devices=["CPU", "GPU"], grid=None, training=None
    )
    assert experiment["n_trials"] == 4
    pairs = {(study["baseline"], study["device"]) for study in experiment["studies"]}
    assert pairs == {(i, d) for i in ids for d in ("CPU", "GPU")}
    for study in experiment["studies"]:
        host = cpu if study["device"] == "CPU" else gpu
        host.play(server, study["id"], [1.0] * 4)  # a host takes the other study's jobs, too
    assert server.get(f"/v1/experiments/{experiment['id']}")["state"] == "finished"


def test_a_plan_counts_and_estimates_and_starts_nothing(server: Any) -> None:
    answer = server.http.post("/v1/experiments/plan", json=spec_of(server))
    assert answer.status_code == 200, answer.text
    plan = answer.json()
    assert plan["n_trials"] == len(plan["trials"]) == 4
    assert plan["estimate_s"] == pytest.approx(sum(t["estimate_s"] for t in plan["trials"]))
    assert plan["estimate_s"] > 0
    assert server.get("/v1/experiments")["items"] == []
    assert server.get("/v1/studies")["items"] == []


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"grid": [{"algorithm": "magic"}]}, "grid[0].algorithm"),
    ({"grid": [{"algorithm": "filters_l1", "layers": ["layer9"]}]}, "grid[0].layers"),
    ({"grid": [{"algorithm": "filters_l1", "levels": [1.5]}]}, "grid[0].levels[0]"),
    ({"training": {"epochs": 1}}, "training.epochs"),
    ({"training": {"speed": 1}}, "training.speed"),
    ({"devices": ["TOASTER"]}, "devices[0]"),
    ({"baselines": ["bsl_none"]}, "baselines[0]"),
    ({"baselines": []}, "baselines"),
    ({"constraints": ["beauty <= 1"]}, "constraints[0]"),
    ({"stage": "baseline"}, "grid"),
    ({"sweep": "exp_1"}, "sweep"),
    ({"stage": "combine", "grid": None, "devices": []}, "sweep"),
    ({"cases": [{"name": "mine", "schedule": "["}]}, "cases[0].schedule"),
    (
        {"cases": [{"name": "mine", "schedule": "policies: []\npruners: {a: {class: B}}"}]},
        "cases[0].schedule: pruners.a.class",
    ),
]


def test_an_experiment_that_cannot_work_is_refused_with_the_place(server: Any) -> None:
    good = spec_of(server)
    for changes, path in REFUSED:
        wanted = good | changes
        if wanted["stage"] == "combine":
            del wanted["baselines"]
        answer = server.http.post("/v1/experiments", json=wanted)
        assert answer.status_code == 422, changes
        assert path in [problem["path"] for problem in answer.json()["problems"]], changes
    assert server.get("/v1/experiments")["items"] == []


def test_cases_of_the_users_own_run_as_they_were_written(server: Any, connect: Any) -> None:
    schedule = """\
pruners:
  mine:
    class: AutomatedGradualPruner
    initial_sparsity: 0.05
    final_sparsity: 0.5
    weights: [layer1.*.conv1.weight]
policies:
  - pruner: {instance_name: mine}
    starting_epoch: 0
    ending_epoch: 3
    frequency: 1
"""
    case = {"name": "mine", "schedule": schedule, "training": {"epochs": 3}, "level": 0.5}
    experiment = start(server, grid=None, cases=[case])
    done = play(server, connect(server), experiment, [1.0, 1.0])
    (study,) = done["studies"]
    trials = server.get(f"/v1/studies/{study['id']}/trials")["items"]
    assert [trial["config"]["case"] for trial in trials] == ["baseline", "mine"]
    detail = server.get(f"/v1/trials/{trials[1]['id']}")
    assert detail["training"] == {"epochs": 3, "recovery_epochs": 0}
    assert detail["schedule"]["pruners"]["mine"]["weights"] == [
        f"layer1.{i}.conv1.weight" for i in range(3)
    ]


def test_a_cancelled_experiment_keeps_what_is_done(server: Any, connect: Any) -> None:
    host = connect(server)
    experiment = start(server)
    (study,) = experiment["studies"]
    host.measure(host.lease())  # the check of the baseline
    answer = server.http.post(f"/v1/experiments/{experiment['id']}/cancel")
    assert answer.json()["state"] == "cancelled"
    assert server.get(f"/v1/studies/{study['id']}")["state"] == "cancelled"


@pytest.mark.slow  # a server in a process of its own; end_to_end/test_research_path.py is the whole
def test_a_server_that_was_killed_goes_on_with_the_cases_that_are_left(
    killable: Any, connect: Any
) -> None:
    host = connect(killable)
    experiment = start(killable)
    (study,) = experiment["studies"]
    host.measure(host.lease())
    killable.kill()
    killable.start()
    host.register()
    host.play(killable, study["id"], [1.0, 0.9, 0.8, 0.7])
    trials = killable.get(f"/v1/studies/{study['id']}/trials")["items"]
    assert [trial["number"] for trial in trials] == [0, 1, 2, 3]
    assert len({trial["config"]["case"] for trial in trials}) == 4


def test_the_same_request_twice_is_one_experiment(server: Any) -> None:
    spec = spec_of(server)
    headers = {"Idempotency-Key": "once"}
    ids = {
        server.http.post("/v1/experiments", json=spec, headers=headers).json()["id"]
        for _ in range(2)
    }
    assert len(ids) == len(server.get("/v1/experiments")["items"]) == 1


def test_a_study_of_an_experiment_takes_no_trials_of_others(server: Any) -> None:
    (study,) = start(server)["studies"]
    enqueued = server.http.post(
        f"/v1/studies/{study['id']}/trials", json={"config": {"case": "baseline"}}
    )
    assert enqueued.status_code == 409
    assert server.http.post(f"/v1/studies/{study['id']}/clone", json={}).status_code == 409


def test_the_commands_plan_start_and_show(at: Any, server: Any) -> None:
    baseline = server.baseline()
    options = ["--algorithm", "filters_l1", "--layers", "all", "--training", "epochs=2"]
    status, out, _ = at("sweep", baseline, *options, "--plan")
    assert status == 0
    assert "4 trials, about" in out  # the baseline and three preselected levels
    assert server.get("/v1/experiments")["items"] == []
    status, out, _ = at("sweep", baseline, *options)
    (experiment,) = server.get("/v1/experiments")["items"]
    assert experiment["id"] in out
    status, out, _ = at("experiment", "show", experiment["id"])
    assert (status, "running: 0 of 4 trials" in out) == (0, True)
    status, out, _ = at("experiment", "list")
    assert experiment["id"] in out
    status, out, _ = at("baseline", baseline)
    assert server.get("/v1/experiments")["items"][0]["stage"] == "baseline"
    assert at("experiment", "cancel", experiment["id"])[0] == 0


def test_results_analysis_and_report_come_from_what_was_measured(
    server: Any, connect: Any, at: Any
) -> None:
    experiment = start(server)
    play(server, connect(server), experiment, [1.0, 0.8, 0.6, 1.01])
    path = f"/v1/experiments/{experiment['id']}"
    rows = server.get(f"{path}/results")["items"]
    assert [row["latency_ratio"] for row in rows] == [1.0, 0.8, 0.6, 1.01]
    assert [row["algorithm"] for row in rows] == ["none", *["filters_l1"] * 2, "element_level"]
    assert rows[1]["mac_share"] == 0.5  # 20 of 40 millions, scripted
    text = server.http.get(f"{path}/results", params={"format": "csv"}).text
    table = list(csv.DictReader(io.StringIO(text)))
    assert [float(row["latency_ratio"]) for row in table] == [1.0, 0.8, 0.6, 1.01]
    layers = server.get(f"{path}/results?table=layers")["items"]
    assert (len(layers), layers[0]["layer"], layers[0]["candidate_ms"]) == (4, "conv1", 0.1)
    (one,) = server.get(f"{path}/analysis")["analyses"]
    assert one["baseline"]["p50_ms"] == 2.0
    assert one["analysis"]["n_measured"] == 4
    page = server.http.get(f"{path}/report").text
    assert "filters_l1/all/0.5: ratio 0.600 (0.594 to 0.606)" in page
    for kind in ("csv", "json"):
        status, out, _ = at("experiment", "results", experiment["id"], "--format", kind)
        assert (status, "filters_l1/all/0.5" in out) == (0, True)
    status, out, _ = at("experiment", "report", experiment["id"], "-o", "/dev/null")
    assert status == 0
    status, out, _ = at("experiment", "analysis", experiment["id"])
    assert "The fastest trial that keeps the limits is filters_l1/all/0.5" in out


def test_parquet_comes_where_it_can_be_written(
    server: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = start(server, stage="baseline", grid=None, training=None)
    play(server, connect(server), experiment, [1.0])
    path = f"/v1/experiments/{experiment['id']}/results"
    rows = server.get(path)["items"]
    answer = server.http.get(path, params={"format": "parquet"})
    assert pq.read_table(io.BytesIO(answer.content)).to_pylist() == rows
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    answer = server.http.get(path, params={"format": "parquet"})
    assert (answer.status_code, answer.json()["type"]) == (501, "/problems/extra-missing")


def test_a_sweep_becomes_the_template_of_the_search(server: Any, connect: Any, at: Any) -> None:
    grid = [
        {"algorithm": "filters_l1", "layers": ["stage"], "levels": [0.25, 0.5, 0.75]},
        {"algorithm": "element_level", "layers": ["all"], "levels": [0.5]},
    ]
    experiment = start(server, grid=grid)
    # the baseline; stages 1 to 3 at their three levels; the zeros. Only stage 2 gains.
    ratios = [1.0, *[1.0] * 3, 0.9, 0.8, 0.7, *[1.0] * 3, 1.0]
    play(server, connect(server), experiment, ratios)
    path = f"/v1/experiments/{experiment['id']}/template"
    found = server.get(path)
    text = found["template"]
    template = parse_template(text, found["training"])
    parameters = {one.name: one for one in template.parameters}
    sparsity = parameters["pruners.stage2.final_sparsity"]
    # half a step around the levels that gained, 0.25 to 0.75; the best was 0.75
    assert (sparsity.low, sparsity.high, sparsity.default) == (0.125, 0.875, 0.75)
    assert "pruners.stage2_coupled.final_sparsity" in parameters
    assert not [name for name in parameters if "stage1" in name or "stage3" in name]
    left_out = text[: text.index("version: 1")].replace("\n#  ", "")
    assert "* layer1.0.conv1: cut with its stage it made nothing distinguishably faster" in left_out
    assert "* element_level: none of its 1 trials was distinguishably faster" in left_out
    status, out, _ = at("template", "--from-sweep", experiment["id"])
    assert (status, out) == (0, text)
    # and a study takes it
    baseline = experiment["studies"][0]["baseline"]
    spec = server.spec(baseline=baseline, template=text, training=found["training"])
    assert server.http.post("/v1/studies", json=spec).status_code == 201


def test_a_layer_of_which_too_little_is_known_stays_in_the_template(
    server: Any, connect: Any
) -> None:
    layers = ["all", "layer1.0.conv1", "layer1.1.conv1"]
    experiment = start(
        server, grid=[{"algorithm": "filters_l1", "layers": layers, "levels": [0.5]}]
    )
    host = connect(server)
    host.spread = 0.03
    # alone, the first may gain (0.94 to 1.00), the second does not (0.98 to 1.04)
    play(server, host, experiment, [1.0, 0.6, 0.975, 1.011])
    text = server.get(f"/v1/experiments/{experiment['id']}/template")["template"]
    head, _, body = text.partition("version: 1")
    assert "layer1.0.conv1.weight" in body
    assert "layer1.1.conv1.weight" not in body
    assert "layer1.1.conv1: cut alone it made nothing distinguishably" in head
    assert "layer1.0.conv1:" not in head


def test_a_sweep_without_a_gain_has_no_template(server: Any, connect: Any) -> None:
    experiment = start(server)
    play(server, connect(server), experiment, [1.0] * 4)
    answer = server.http.get(f"/v1/experiments/{experiment['id']}/template")
    assert answer.status_code == 409
    assert "nothing that a search could turn" in answer.json()["detail"]


def test_the_best_of_each_domain_is_combined(server: Any, connect: Any, at: Any) -> None:
    grid = [
        {"algorithm": "filters_l1", "layers": ["all"], "levels": [0.25, 0.5]},
        {"algorithm": "channels_l1", "layers": ["all"], "levels": [0.5]},
        {"algorithm": "filters_random", "layers": ["all"], "levels": [0.5]},
    ]
    host = connect(server)
    sweep = start(server, grid=grid)
    play(server, host, sweep, [1.0, 0.9, 0.6, 0.8, 0.5])
    status, _out, _ = at("combine", sweep["id"])
    assert status == 0
    combination = server.get("/v1/experiments")["items"][0]
    assert (combination["stage"], combination["subject"]) == ("combine", sweep["id"])
    assert combination["n_trials"] == 2  # the baseline again, and filters with channels
    assert combination["notes"][0].startswith("filter: filters_l1/all/0.5, ratio 0.600")
    # the second convolutions of a stage are coupled filters and channels at once
    (conflict,) = [note for note in combination["notes"] if ": pruned by" in note]
    assert conflict.startswith("filter+channel: pruned by filter, not by channel: layer1.0.conv2")
    assert conflict.count(".weight") == 9
    assert combination["notes"][-1].startswith("rule: a new mask replaces an older one")
    done = play(server, host, combination, [1.0, 0.55])
    assert done["state"] == "finished"
    row = server.get(f"/v1/experiments/{combination['id']}/results")["items"][1]
    assert (row["case"], row["latency_ratio"]) == ("filter+channel", 0.55)
    (one,) = server.get(f"/v1/experiments/{combination['id']}/analysis")["analyses"]
    assert (
        "filter+channel (ratio 0.550) is faster than its fastest member alone, "
        in (one["analysis"]["conclusions"][-1])
    )
    page = server.http.get(f"/v1/experiments/{combination['id']}/report").text
    assert "Combined and alone" in page


def test_a_sweep_of_one_domain_is_not_combined(server: Any) -> None:
    sweep = start(server)
    wanted = {"stage": "combine", "name": "c", "sweep": sweep["id"]}
    answer = server.http.post("/v1/experiments", json=wanted)
    assert answer.status_code == 422
    assert "fewer than two domains" in answer.json()["problems"][0]["message"]


def test_a_network_that_is_lost_on_the_way_fails_the_verification(
    server: Any, connect: Any, at: Any
) -> None:
    host = connect(server)
    experiment = start(server, stage="verify", grid=None, training=None)
    assert experiment["n_trials"] == 4
    (study,) = experiment["studies"]
    while server.get(f"/v1/experiments/{experiment['id']}")["state"] == "running":
        server.compute_all()
        answer = host.ask(wait_s=0.2)
        if answer.status_code != 200:
            continue
        lease = answer.json()
        trials = server.get(f"/v1/studies/{study['id']}/trials")["items"]
        is_cut = trials and trials[-1]["config"]["case"].startswith("channels")
        if is_cut:
            host.fail(lease, "mismatch", reason="outputs differ")
        else:
            host.measure(lease)
    (one,) = server.get(f"/v1/experiments/{experiment['id']}/analysis")["analyses"]
    arrived, lost = one["analysis"]["conclusions"]
    assert arrived.endswith("baseline, element_agp/all/0.8, filters_l1/all/0.5.")
    assert lost == "channels_l1/all/0.5 did not arrive: outputs differ."
    assert at("experiment", "watch", experiment["id"])[0] == 1
