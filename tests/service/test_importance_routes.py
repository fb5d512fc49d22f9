"""Importance, reports and tables of trials over real HTTP, of good studies and of poor ones."""

import csv
import io
import json
import math
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pandas as pd
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # has no types
import pytest

from stillhouse_service.states import StudyState, TrialState
from stillhouse_service.tables import TrialRow

TEMPLATE = """\
version: 1
pruners:
  early:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.8, default: 0.3}
    weights: [layer1.0.conv1.weight]
  late: !choice
    fine:
      class: AutomatedGradualPruner
      initial_sparsity: 0.05
      final_sparsity: !float {low: 0.3, high: 0.9, default: 0.5}
      weights: [layer3.0.conv1.weight]
    filters:
      class: L1RankedStructureParameterPruner_AGP
      group_type: Filters
      initial_sparsity: 0.05
      final_sparsity: !float {low: 0.1, high: 0.8, default: 0.3}
      weights: [layer3.0.conv1.weight]
policies:
  - pruner: {instance_name: early}
    starting_epoch: !int {low: 0, high: 1}
    ending_epoch: 3
    frequency: 1
  - pruner: {instance_name: late}
    starting_epoch: 0
    ending_epoch: 3
    frequency: 1
"""
TRAINING = "epochs: 4\nlr: !float {low: 0.001, high: 0.1, log: true, default: 0.01}\n"
EARLY, LATE = "pruners.early.final_sparsity", "pruners.late.filters.final_sparsity"
Metrics = Callable[[dict[str, Any]], dict[str, Any] | None]


def planted(config: dict[str, Any]) -> dict[str, Any]:
    """Latency falls with what goes, more in the early layer; accuracy is best at lr 0.01."""
    off = math.log10(config["training.lr"] / 0.01)
    return {
        "latency_ratio": 1.0 - 0.6 * config[EARLY] - 0.3 * config.get(LATE, 0.0),
        "top1_drop": 0.012 * off**2 + 0.01 * config[EARLY],
    }


class Told:
    """A server whose studies have trials of our own making."""

    def __init__(self, server: Any) -> None:
        self.server, self.http = server, server.http
        self._baseline = server.baseline()

    def study(self, n: int, metrics: Metrics = planted, **changes: Any) -> str:
        """A finished study of so many trials; a trial without metrics has failed."""
        spec = {"template": TEMPLATE, "training": TRAINING, "budget": {"trials": max(n, 1)}}
        study_id = self.server.study(baseline=self._baseline, **(spec | changes))
        rng = random.Random(0)
        with self.server.store.begin() as work:
            study = work.studies.named(study_id)
            best: tuple[float, str] | None = None
            for number in range(n):
                config = draw(rng)
                told = metrics(config)
                is_feasible = told is not None and told.get("top1_drop", 0.0) <= 0.02
                row = TrialRow(
                    id=f"trl_{study_id[4:12]}{number:06d}",
                    study_id=study_id,
                    number=number,
                    state=TrialState.FAILED if told is None else TrialState.COMPLETE,
                    config=config,
                    origin="random",
                    prediction={},
                    seed=number,
                    metrics=told,
                    is_feasible=None if told is None else is_feasible,
                    violations={},
                    failure=None
                    if told is not None
                    else {"stage": "compress", "class": "diverged", "reason": "loss is NaN, = bad"},
                    progress={},
                    artifacts={},
                    details={},
                    created_at=work.now,
                    started_at=work.now,
                    finished_at=work.now + timedelta(seconds=90),
                )
                work.trials.add(row)
                if is_feasible and told is not None and told.get("latency_ratio") is not None:
                    best = min(best or (9.0, ""), (told["latency_ratio"], row.id))
            study.baseline_measurement = {"p50_ms": 2.0, "validation_top1": 0.98}
            study.state = StudyState.FINISHED
            study.incumbent_id = best[1] if best else None
        return str(study_id)

    def get(self, path: str) -> httpx.Response:
        """An answer."""
        answer = self.http.get(path)
        assert isinstance(answer, httpx.Response)
        return answer


def draw(rng: random.Random) -> dict[str, Any]:
    late = rng.choice(["fine", "filters"])
    low, high = (0.3, 0.9) if late == "fine" else (0.1, 0.8)
    return {
        EARLY: rng.uniform(0.1, 0.8),
        "pruners.late": late,
        f"pruners.late.{late}.final_sparsity": rng.uniform(low, high),
        "policies.early.starting_epoch": rng.randint(0, 1),
        "training.lr": 10 ** rng.uniform(-3, -1),
    }


@pytest.fixture
def told(server: Any) -> Told:
    return Told(server)


def test_a_planted_truth_is_found_and_told_with_its_reasons(told: Told) -> None:
    study_id = told.study(80)
    answer = told.get(f"/v1/studies/{study_id}/importance").json()
    latency, drop = (answer["metrics"][m] for m in ("latency_ratio", "top1_drop"))
    assert latency["parameters"][0]["name"] == EARLY
    by_name = {p["name"]: p for p in latency["parameters"]}
    assert by_name[EARLY]["direction"] == "down"
    assert by_name[LATE]["direction"] == "down"
    assert 0.3 < by_name[LATE]["active_share"] < 0.7
    assert by_name[EARLY]["importance_low"] <= by_name[EARLY]["importance"]
    lr = drop["parameters"][0]
    assert (lr["name"], lr["direction"]) == ("training.lr", "valley")
    low, high = lr["recommended"]
    assert 0.001 <= low < 0.01 < high <= 0.1
    assert latency["trials"] == [[0, 79]]
    groups = {(g["kind"], g["name"]): g for g in latency["groups"]}
    assert groups["stage", "layer1"]["parameters"] == [EARLY, "policies.early.starting_epoch"]
    assert groups["stage", "layer1"]["importance"] > groups["part", "training"]["importance"]
    assert {kind for kind, _ in groups} == {"part", "algorithm", "stage", "layer"}
    n = answer["incumbent"]
    trial = told.server.get(f"/v1/studies/{study_id}/trials?page_size=1000")["items"][n]
    way = answer["ablation"]["steps"]
    changed = {c["name"]: c["to"] for step in way for c in step["changes"]}
    for name, value in changed.items():
        assert value == pytest.approx(trial["config"][name])
    assert way[-1]["metrics"]["latency_ratio"] < answer["ablation"]["start"]["latency_ratio"]
    assert set(way[0]["metrics"]) == {"latency_ratio", "top1_drop"}
    assert {turn["name"] for turn in latency["local"]} == set(trial["config"])


def test_the_pairs_are_all_or_the_strongest(told: Told) -> None:
    study_id = told.study(40)
    everything = told.get(f"/v1/studies/{study_id}/importance").json()["metrics"]
    some = told.get(f"/v1/studies/{study_id}/importance?pairs=2").json()["metrics"]
    assert some["latency_ratio"]["pairs"] == everything["latency_ratio"]["pairs"][:2]
    assert len(everything["latency_ratio"]["pairs"]) > 5


def test_many_trials_are_explained_in_a_process_of_its_own_and_once(told: Told) -> None:
    study_id = told.study(101)
    found = told.get(f"/v1/studies/{study_id}/importance").json()
    assert found["metrics"]["latency_ratio"]["n_trials"] == 101
    assert found["metrics"]["latency_ratio"]["parameters"][0]["name"] == EARLY
    start = time.monotonic()
    assert told.get(f"/v1/studies/{study_id}/importance").json() == found
    assert time.monotonic() - start < 1.0  # kept


def test_every_form_of_importance_says_the_same(told: Told) -> None:
    study_id = told.study(40)
    path = f"/v1/studies/{study_id}/importance"
    parameters = told.get(path).json()["metrics"]["latency_ratio"]["parameters"]
    table = list(csv.DictReader(io.StringIO(told.get(f"{path}?format=csv").text)))
    is_wanted = {"metric": "latency_ratio", "what": "parameter"}
    shown = [row for row in table if is_wanted.items() <= row.items()]
    assert [row["parameter"] for row in shown] == [p["name"] for p in parameters]
    assert [float(row["importance"]) for row in shown] == [p["importance"] for p in parameters]
    assert {row["what"] for row in table} >= {"parameter", "pair", "stage", "layer"}
    frame = pq.read_table(io.BytesIO(told.get(f"{path}?format=parquet").content)).to_pandas()
    assert len(frame) == len(table)
    mine = frame[(frame["metric"] == "latency_ratio") & (frame["what"] == "parameter")]
    assert list(mine["parameter"]) == [p["name"] for p in parameters]
    assert list(mine["importance"]) == [p["importance"] for p in parameters]
    page = told.get(f"{path}?format=html")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert parameters[0]["recommendation"] in page.text.replace("&lt;", "<")
    assert "Trials it stands on: 0 to 39" in page.text


def test_every_form_of_the_report_says_the_same(told: Told) -> None:
    study_id = told.study(40, lambda c: None if c["training.lr"] > 0.05 else planted(c))
    path = f"/v1/studies/{study_id}/report"
    said = told.get(f"{path}?format=json").json()
    text = told.get(f"{path}?format=md").text
    page = told.get(path).text
    for sentence in said["outcome"]:
        assert sentence in text
        assert sentence in page
    assert said["winner"]["number"] == said["importance"]["incumbent"]
    (failure,) = said["failures"]
    assert (failure["class"], failure["reason"]) == ("diverged", "loss is NaN, = bad")
    assert "| compress | diverged | loss is NaN, = bad |" in text
    assert "failed before it was measured" in text
    assert "What made the best trial good" in text
    assert said["environment"]["packages"]["torch"] in text


def few(config: dict[str, Any]) -> dict[str, Any]:
    return planted(config)


def constant(config: dict[str, Any]) -> dict[str, Any]:
    return planted(config) | {"latency_ratio": 0.7}


def infeasible(config: dict[str, Any]) -> dict[str, Any]:
    return planted(config) | {"top1_drop": 0.05 + 0.01 * config[EARLY]}


def none_finite(config: dict[str, Any]) -> dict[str, Any]:
    return {"latency_ratio": None, "top1_drop": 0.0}  # NaN is stored as null


def fail(config: dict[str, Any]) -> None:
    return None


@pytest.mark.parametrize(
    ("n", "metrics", "words"),
    [
        (0, few, ["No trial has been measured.", "0 trials have a value of latency_ratio"]),
        (2, few, ["2 trials have a value of latency_ratio; a ranking needs at least 10"]),
        (40, constant, ["atency_ratio was the same in all 40 trials"]),
        (
            40,
            infeasible,
            ["No trial is feasible", "No trial meets the limits, so there is no best one"],
        ),
        (
            20,
            none_finite,
            ["0 trials have a value of latency_ratio", "(latency_ratio is not a finite number)"],
        ),
        (12, fail, ["None of the 12 trials that ended gave a measurement."]),
    ],
    ids=["none", "two", "constant", "infeasible", "nan", "failed"],
)
def test_a_poor_study_is_put_into_words_in_every_form(
    told: Told, n: int, metrics: Metrics, words: list[str]
) -> None:
    study_id = told.study(n, metrics)
    path = f"/v1/studies/{study_id}"
    text = told.get(f"{path}/report?format=md")
    assert text.status_code == 200
    for word in words:
        assert word in text.text
    page = told.get(f"{path}/report")
    assert page.status_code == 200
    plots = json.loads(page.text.split('id="plots">', 1)[1].split("</script>", 1)[0])
    for figure in plots.values():  # none is empty
        assert any(value is not None for trace in figure["data"] for value in trace["x"])
    assert told.get(f"{path}/report?format=json").status_code == 200
    for form in ("json", "csv", "html", "parquet"):
        assert told.get(f"{path}/importance?format={form}").status_code == 200
    rows = list(csv.DictReader(io.StringIO(told.get(f"{path}/trials?format=csv").text)))
    assert len(rows) == n


def test_a_parameter_that_never_varied_is_said_to_have_no_share(told: Told) -> None:
    def fix(config: dict[str, Any]) -> dict[str, Any]:
        config["training.lr"] = 0.01
        return planted(config)

    study_id = told.study(40, fix)
    answer = told.get(f"/v1/studies/{study_id}/importance").json()
    found = {p["name"]: p for p in answer["metrics"]["latency_ratio"]["parameters"]}
    assert (found["training.lr"]["importance"], found["training.lr"]["direction"]) == (0.0, "none")
    assert "no value but 0.01 was tried" in found["training.lr"]["recommendation"]


def test_a_study_that_waits_for_its_device_has_a_report_too(told: Told) -> None:
    limits = ["model_bytes <= 0.5 * baseline", "top1_drop <= 0.02"]
    study_id = told.server.study(baseline=told.server.baseline(1), constraints=limits)
    answer = told.get(f"/v1/studies/{study_id}/importance").json()
    assert answer["metrics"]["model_bytes"]["verdict"] == "not_enough"
    text = told.get(f"/v1/studies/{study_id}/report?format=md").text
    assert "The device has not checked the baseline yet" in text


def test_a_report_stands_without_the_artifacts_of_its_trials(told: Told) -> None:
    study_id = told.study(20)
    for file in told.server.settings.artifact_dir.rglob("*"):
        if file.is_file():
            file.unlink()
    assert "latency ratio" in told.get(f"/v1/studies/{study_id}/report").text


def test_trials_come_as_a_data_frame_with_the_columns_of_optuna(told: Told) -> None:
    study_id = told.study(30, lambda c: None if c["training.lr"] > 0.07 else planted(c))
    path = f"/v1/studies/{study_id}/trials"
    frame = pd.read_csv(io.StringIO(told.http.get(f"{path}?format=csv").text))
    assert list(frame.columns) == [
        "number",
        "values_latency_ratio",
        "datetime_start",
        "datetime_complete",
        "duration",
        "params_policies.early.starting_epoch",
        f"params_{EARLY}",
        "params_pruners.late",
        f"params_{LATE}",
        "params_pruners.late.fine.final_sparsity",
        "params_training.lr",
        "user_attrs_failure_class",
        "user_attrs_failure_reason",
        "user_attrs_failure_stage",
        "user_attrs_id",
        "user_attrs_is_feasible",
        "user_attrs_origin",
        "user_attrs_seed",
        "user_attrs_state",
        "user_attrs_top1_drop",
        "state",
    ]
    items = told.server.get(f"{path}?page_size=1000")["items"]
    assert list(frame["number"]) == list(range(30))
    assert set(frame["duration"]) == {90.0}
    assert list(frame["state"]) == ["COMPLETE" if t["metrics"] else "FAIL" for t in items]
    assert list(frame[f"params_{EARLY}"]) == pytest.approx([t["config"][EARLY] for t in items])
    other = pq.read_table(io.BytesIO(told.http.get(f"{path}?format=parquet").content)).to_pandas()
    assert list(other.columns) == list(frame.columns)
    assert list(other["duration"].dt.total_seconds()) == [90.0] * 30
    inactive = [t["config"].get(LATE, math.nan) for t in items]
    for table in (frame, other):
        assert list(table[f"params_{LATE}"]) == pytest.approx(inactive, nan_ok=True)


def test_many_trials_are_never_read_at_once(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    study_id = told.study(25)
    monkeypatch.setattr("stillhouse_service.trial_table._N_AT_ONCE", 10)
    pages: list[int] = []
    read = type(told.server.store.read().__enter__().trials).page

    def counted(self: Any, study_id: str, limit: int, after: int | None) -> Any:
        pages.append(limit)
        return read(self, study_id, limit, after)

    monkeypatch.setattr("stillhouse_service.repositories.trials.Trials.page", counted)
    text = told.http.get(f"/v1/studies/{study_id}/trials?format=csv").text
    content = told.http.get(f"/v1/studies/{study_id}/trials?format=parquet").content
    assert [line.split(",")[0] for line in text.splitlines()[1:]] == [str(n) for n in range(25)]
    assert pq.ParquetFile(io.BytesIO(content)).num_row_groups == 3
    assert max(pages) == 10


def test_without_pyarrow_the_answer_says_what_to_install(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id = told.study(2)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for what in ("trials", "importance"):
        answer = told.http.get(f"/v1/studies/{study_id}/{what}?format=parquet")
        assert (answer.status_code, answer.json()["type"]) == (501, "/problems/extra-missing")
        assert "pip install 'stillhouse[parquet]'" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["importance", "report", "trials?format=csv"])
def test_an_unknown_study_is_not_found(told: Told, path: str) -> None:
    assert told.http.get(f"/v1/studies/std_none/{path}").status_code == 404


def test_an_unknown_form_is_refused(told: Told) -> None:
    study_id = told.study(1)
    for path in ("importance?format=xml", "report?format=pdf", "trials?format=xls"):
        assert told.http.get(f"/v1/studies/{study_id}/{path}").status_code == 422
