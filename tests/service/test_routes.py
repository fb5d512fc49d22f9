"""What users' requests get, over real HTTP."""

from typing import Any

import httpx
import pytest

from stillhouse_service.database import head_revision
from stillhouse_service.routes.problem_pages import meanings

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)


def test_a_server_says_that_it_lives(server: Any) -> None:
    answer = server.get("/healthz")
    assert answer["status"] == "ok"
    assert answer["schema"] == head_revision()
    assert answer["compute"] == "none"


def test_networks_and_data_sets_are_listed(server: Any) -> None:
    names = [item["name"] for item in server.get("/v1/models")["items"]]
    assert "resnet20_cifar" in names
    digits = next(i for i in server.get("/v1/datasets")["items"] if i["name"] == "digits")
    assert digits["splits"] == {"train": 1000, "validation": 300, "test": 497}


@on_both
def test_a_study_is_shown_as_it_was_sent(server: Any) -> None:
    spec = server.spec()
    made = server.http.post("/v1/studies", json=spec)
    assert made.status_code == 201
    study = server.get(f"/v1/studies/{made.json()['id']}")
    assert study["state"] == "checking"
    assert study["spec"]["template"] == spec["template"]
    assert study["spec"]["budget"] == {"trials": 3}
    names = [parameter["name"] for parameter in study["parameters"]]
    assert names == ["pruners.filters.final_sparsity", "training.lr"]
    assert study["counts"]["complete"] == 0


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"baseline": "bsl_none"}, "baseline"),
        ({"device": "TOASTER"}, "device"),
        ({"objectives": ["beauty"]}, "objectives[0]"),
        ({"objectives": ["latency_ratio", "latency_p50_ms"]}, "objectives[1]"),
        ({"constraints": ["top1_drop < < 2"]}, "constraints[0]"),
        ({"constraints": ["beauty >= 2"]}, "constraints[0]"),
        ({"constraints": ["macs <= 1e9", "top1 >= 0.99"]}, "constraints[1]"),
        ({"constraints": ["latency_ratio <= -1"]}, "constraints[0]"),
        ({"constraints": ["top5 >= 1.5"]}, "constraints[0]"),
        ({"constraints": ["top1_drop <= -0.03"]}, "constraints[0]"),  # the baseline has 0.98
        ({"surrogate": "oracle"}, "surrogate"),
        ({"budget": {"trials": 0}}, "budget.trials"),
        ({"colour": "red"}, "colour"),
        ({"timing": {"n_compilations": 0}}, "timing.n_compilations"),
    ],
)
def test_a_study_that_cannot_work_is_refused_with_the_place(
    server: Any, changes: Any, path: Any
) -> None:
    answer = server.http.post("/v1/studies", json=server.spec(**changes))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert path in [problem["path"] for problem in answer.json()["problems"]]
    assert server.get("/v1/studies")["items"] == []


def test_every_problem_of_a_template_is_named_by_its_yaml_path(server: Any) -> None:
    template = """\
version: 1
pruners:
  filters:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    initial_sparsity: 0.05
    final_sparsity: 0.5
    weights: [layer9.0.conv1.weight]
  other:
    class: AutomatedGradualPruner
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.6}
    colour: red
    weights: [fc.weight]
policies:
  - pruner: {instance_name: filters}
    starting_epoch: 0
    ending_epoch: 3
    frequency: 1
  - pruner: {instance_name: other}
    starting_epoch: 0
    ending_epoch: 3
    frequency: 1
"""
    answer = server.http.post("/v1/studies", json=server.spec(template=template))
    assert answer.status_code == 422
    paths = [problem["path"] for problem in answer.json()["problems"]]
    assert "template.pruners.filters.weights[0]" in paths
    assert "template.pruners.other.colour" in paths


def test_an_empty_range_is_refused_before_anything_is_trained(server: Any) -> None:
    training = "epochs: 4\nlr: !float {low: 0.1, high: 0.01}\n"
    answer = server.http.post("/v1/studies", json=server.spec(training=training))
    assert answer.status_code == 422
    assert any(p["path"].startswith("training.lr") for p in answer.json()["problems"])


def test_a_study_needs_a_complete_baseline(server: Any) -> None:
    wanted = {"model": "resnet20_cifar", "dataset": "digits"}
    baseline = server.http.post("/v1/baselines", json=wanted).json()
    assert baseline["state"] == "queued"
    answer = server.http.post("/v1/studies", json=server.spec(baseline=baseline["id"]))
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["path"] == "baseline"


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"model": "resnet21", "dataset": "digits"}, "model"),
        ({"model": "resnet20_cifar", "dataset": "letters"}, "dataset"),
        (
            {"model": "resnet20_cifar", "dataset": "digits", "recipe": {"epochs": -1}},
            "recipe.epochs",
        ),
        (
            {"model": "resnet20_cifar", "dataset": "digits", "recipe": {"colour": 1}},
            "recipe.colour",
        ),
        ({"model": "resnet20_cifar", "dataset": "digits", "seed": -1}, "seed"),
    ],
)
def test_a_baseline_that_cannot_be_trained_is_refused_with_the_place(
    server: Any, wanted: Any, path: Any
) -> None:
    answer = server.http.post("/v1/baselines", json=wanted)
    assert answer.status_code == 422
    assert path in [problem["path"] for problem in answer.json()["problems"]]


@pytest.mark.parametrize(
    "path", ["/v1/studies/std_none", "/v1/trials/trl_none", "/v1/baselines/bsl_none", "/nowhere"]
)
def test_what_is_not_there_is_a_404_problem(server: Any, path: Any) -> None:
    answer = server.http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == path


def test_a_garbage_body_is_a_422_problem(server: Any) -> None:
    answer = server.http.post(
        "/v1/studies", content=b"\x00{", headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 422
    assert "Traceback" not in answer.text


@on_both
def test_a_long_list_comes_in_pages_without_a_gap(server: Any) -> None:
    baseline = server.baseline()
    made = [server.study(baseline=baseline) for _ in range(5)]
    seen, token = [], None
    while True:
        query = {"page_size": 2} | ({"page_token": token} if token else {})
        page = server.http.get("/v1/studies", params=query).json()
        seen += [item["id"] for item in page["items"]]
        token = page["next_page_token"]
        if token is None:
            break
    assert seen == made[::-1]


@pytest.mark.parametrize("path", ["/v1/studies", "/v1/baselines"])
def test_a_page_token_nobody_gave_out_is_refused(server: Any, path: Any) -> None:
    answer = server.http.get(path, params={"page_token": "made-up"})
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["path"] == "page_token"


@on_both
def test_an_artifact_is_read_whole_or_in_part(server: Any) -> None:
    baseline = server.get(f"/v1/baselines/{server.baseline()}")
    sha256 = baseline["artifacts"]["onnx"]
    whole = server.http.get(f"/v1/artifacts/{sha256}")
    assert whole.content == b"onnx 0"
    assert whole.headers["etag"] == f'"{sha256}"'
    part = server.http.get(f"/v1/artifacts/{sha256}", headers={"Range": "bytes=2-3"})
    assert part.status_code == 206
    assert part.content == b"nx"


def test_a_file_that_no_row_names_is_not_given_out(server: Any) -> None:
    stored = server.artifacts.put(b"nobody knows me")
    assert server.http.get(f"/v1/artifacts/{stored.sha256}").status_code == 404
    assert server.http.get("/v1/artifacts/..%2F..%2Fetc%2Fpasswd").status_code == 404


def test_a_cancelled_study_stays_cancelled(server: Any) -> None:
    study = server.study()
    for _ in range(2):
        answer = server.http.post(f"/v1/studies/{study}/cancel")
        assert answer.status_code == 200
        assert answer.json()["state"] == "cancelled"
    assert server.http.post(f"/v1/studies/{study}/resume").status_code == 409


def test_only_a_running_study_can_be_paused(server: Any) -> None:
    study = server.study()
    answer = server.http.post(f"/v1/studies/{study}/pause")
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/illegal-transition"


def test_the_openapi_page_has_an_example_study(server: Any) -> None:
    page = server.get("/openapi.json")
    examples = page["components"]["schemas"]["StudySpec"]["examples"]
    assert examples[0]["constraints"] == ["top1_drop <= 0.02"]
    assert httpx.get(f"{server.url}/docs").status_code == 200


def test_every_type_of_problem_has_its_page(server: Any) -> None:
    for slug, (status, meaning) in meanings().items():
        answer = server.http.get(f"/problems/{slug}")
        assert answer.status_code == 200
        assert str(status) in answer.text and meaning in answer.text
    missing = server.http.get("/v1/studies/std_none").json()["type"]
    assert server.http.get(missing).status_code == 200
    assert server.http.get("/problems/none").status_code == 404
