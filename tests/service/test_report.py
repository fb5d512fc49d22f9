"""The report over one made-up study (data/) and over what is left of it when things are missing."""

import copy
import csv
import importlib.metadata
import io
import json
import platform
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go  # type: ignore[import-untyped]  # plotly ships no types
import pytest

from stillhouse_service.report import (
    Facts,
    describe_environment,
    importance_csv,
    render_html,
)

DATA = Path(__file__).parent / "data"
VOID = {"meta", "link", "br", "hr", "img", "input"}


def load(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text())


class Case:
    """What the API answers for a study; tests take things away from it."""

    def __init__(self) -> None:
        self.study = load("study")
        self.baseline = load("baseline")
        self.importance = load("importance")
        winner = load("winner")
        self.trials = [winner if t["id"] == winner["id"] else t for t in load("trials")]
        self.environment: dict[str, Any] = {"python": "3.11.9", "packages": {"torch": "2.13.0"}}

    @property
    def facts(self) -> Facts:
        return Facts(self.study, self.trials, self.baseline)

    def page(self) -> "Page":
        html = render_html(
            self.study, self.trials, self.baseline, self.importance, self.environment
        )
        return Page(html)


class Page(HTMLParser):
    """The page as a browser sees it: its text, its elements' ids, its scripts apart."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self._texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "action", "data"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self._texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self._texts))

    @property
    def plots(self) -> dict[str, Any]:
        plots: dict[str, Any] = json.loads(self.scripts[0])
        return plots


@pytest.fixture
def case() -> Case:
    return Case()


def without_measurements(case: Case, n_left: int = 0) -> None:
    case.trials = case.trials[:n_left]
    case.study["incumbent"] = None
    case.study["final"] = None


def test_the_page_says_first_what_was_won_and_what_it_cost(case: Case) -> None:
    text = case.page().text
    assert "Trial 13 runs in 0.412 ms where the baseline takes 0.612 ms" in text
    assert "latency ratio 0.673 (0.664 to 0.683)" in text
    assert "On the validation split it loses 2.00 points of Top-1" in text
    assert "On the test split it loses 1.41 points of Top-1" in text  # 7 of 497 images
    assert "winner chosen, on the validation split" in text
    assert "7 of 18 measured trials break it" in text


def test_the_page_loads_nothing_from_anywhere(case: Case) -> None:
    page = case.page()
    assert page.links == []
    assert "default-src 'none'" in page.html
    assert not re.search(r"@import|url\(", page.html.split("<script", 1)[0])


def test_plotly_stands_in_the_page_once(case: Case) -> None:
    page = case.page()
    assert sum(len(script) > 1_000_000 for script in page.scripts) == 1
    assert len(page.html) < 6_000_000


def test_every_figure_has_its_place_and_is_what_plotly_accepts(case: Case) -> None:
    page = case.page()
    assert set(page.plots) == {i for i in page.ids if i != "plots"}
    assert {"history", "tradeoff", "layers", "importance-latency_ratio"} <= set(page.plots)
    for figure in page.plots.values():
        plain = json.loads(re.sub(r'"@\w+"', '"red"', json.dumps(figure)))
        go.Figure(plain)  # raises on any property that Plotly does not know


def test_the_history_tells_feasible_infeasible_and_failed_trials_apart(case: Case) -> None:
    traces = {t["name"]: t for t in case.page().plots["history"]["data"]}
    numbers = {name: set(t["x"]) for name, t in traces.items() if name != "best feasible so far"}
    assert {len(numbers["feasible"]), len(numbers["breaks the limit"])} == {11, 7}
    assert numbers["failed"] == {6, 15}
    assert set.union(*numbers.values()) == set(range(20))
    steps = traces["best feasible so far"]["y"]
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] == case.study["incumbent"]["latency_ratio"]


def test_the_threshold_is_drawn_at_the_baselines_accuracy_less_the_allowed_loss(
    case: Case,
) -> None:
    (line,) = case.page().plots["tradeoff"]["layout"]["shapes"]
    assert line["y0"] == pytest.approx(0.99 - 0.02)


@pytest.mark.parametrize(("objective", "x"), [("latency_ratio", 1.0), ("latency_p50_ms", 0.612)])
def test_accuracy_is_drawn_over_the_objective_with_the_baseline_in_its_place(
    case: Case, objective: str, x: float
) -> None:
    case.study["spec"]["objectives"] = [objective]
    traces = {t["name"]: t for t in case.page().plots["tradeoff"]["data"]}
    assert (traces["baseline"]["x"], traces["baseline"]["y"]) == ([x], [0.99])
    assert traces["best feasible"]["x"] == [case.study["incumbent"][objective]]


def test_marginal_curves_of_a_metric_share_their_scale_and_keep_each_parameters_own(
    case: Case,
) -> None:
    plots = case.page().plots
    curves = [f for name, f in plots.items() if name.startswith("curve-latency_ratio")]
    assert len({tuple(f["layout"]["yaxis"]["range"]) for f in curves}) == 1
    by_title = {f["layout"]["title"]["text"]: f for f in curves}
    assert by_title["training.lr"]["layout"]["xaxis"]["type"] == "log"
    assert by_title["pruners.last"]["layout"]["xaxis"]["type"] == "category"
    assert by_title["pruners.last"]["data"][0]["x"] == ["fine", "off"]


def test_failures_are_grouped_by_cause_with_their_trials(case: Case) -> None:
    assert [(s, k, n) for s, k, _, n in case.facts.failures_by_cause] == [
        ("benchmark", "gate", [6]),
        ("compress", "diverged", [15]),
    ]
    assert "loss is not finite at epoch 1" in case.page().text


def test_no_ranking_is_shown_where_the_forest_does_not_fit(case: Case) -> None:
    case.importance["metrics"]["latency_ratio"] |= {
        "verdict": "not_enough",
        "explanation": "18 trials say too little",
        "r2_oob": 0.05,
    }
    page = case.page()
    assert "18 trials say too little. No ranking is shown." in page.text
    assert not [name for name in page.plots if "latency_ratio" in name]
    rows = list(csv.DictReader(io.StringIO(importance_csv(case.importance))))
    assert [r["parameter"] for r in rows if r["metric"] == "latency_ratio"] == [""]
    assert len([r for r in rows if r["metric"] == "top1_drop"]) == 7


def test_shares_come_with_their_intervals_and_the_strongest_interaction(case: Case) -> None:
    page = case.page()
    assert "46 % (32 to 62) falls" in page.text
    assert (
        "only together: pruners.stage1.final_sparsity and pruners.stage2.final_sparsity (3 %)."
        in page.text
    )
    (bars,) = page.plots["importance-latency_ratio"]["data"]
    assert bars["y"][-1] == "pruners.stage1.final_sparsity"
    assert bars["error_x"]["arrayminus"][-1] == pytest.approx(0.46 - 0.322)


def test_importance_as_csv_is_ranked_and_says_how_far_to_trust_it(case: Case) -> None:
    rows = list(csv.DictReader(io.StringIO(importance_csv(case.importance))))
    first = {name: value for name, value in rows[0].items() if value}
    assert first == {
        "metric": "latency_ratio",
        "verdict": "enough",
        "r2_oob": "0.74",
        "n_trials": "18",
        "what": "parameter",
        "rank": "1",
        "parameter": "pruners.stage1.final_sparsity",
        "importance": "0.46",
        "importance_low": "0.322",
        "importance_high": "0.621",
        "direction": "down",
        "strength": "0.9",
        "active_share": "1.0",
        "recommendation": "latency_ratio falls as it rises; the best 5 trials within "
        "top1_drop <= 0.02 use 0.41 to 0.62.",
    }


def test_without_a_feasible_trial_the_page_says_so_and_names_the_nearest(case: Case) -> None:
    case.study |= {"incumbent": None, "final": None}
    for number, trial in enumerate(case.trials):
        if trial["metrics"]:
            trial |= {"is_feasible": False, "violations": {"top1_drop": 0.01 + number / 1000}}
    page = case.page()
    assert "none of 18 measured trials keeps Top-1 lost at most 2.00 points" in page.text
    assert "The nearest is trial 0, whose Top-1 lost misses the limit by 1.00 points" in page.text
    assert "Without a feasible trial there is no network to look into" in page.text
    assert "history" in page.plots


def test_two_trials_make_a_page_without_empty_plots(case: Case) -> None:
    without_measurements(case, n_left=2)
    case.study["state"] = "running"
    case.importance = None
    page = case.page()
    assert "still running" in page.text
    assert "No importance could be computed" in page.text
    assert set(page.plots) == {"history", "tradeoff"}


def test_a_study_without_trials_is_put_into_words(case: Case) -> None:
    without_measurements(case)
    case.study |= {"state": "rejected", "reason": "CPU cannot run layer fc", "counts": {}}
    case.study["baseline_measurement"] = None
    case.importance = None
    page = case.page()
    assert "No trial has been measured." in page.text
    assert "The study was rejected by the device's check: CPU cannot run layer fc." in page.text
    assert page.plots == {}


def test_only_failures_are_put_into_words(case: Case) -> None:
    failed = case.trials[6]
    without_measurements(case)
    case.trials = [failed]
    case.importance = None
    page = case.page()
    assert "None of the 1 trials that ended gave a measurement" in page.text
    assert page.plots == {}


def test_a_winner_without_details_leaves_the_layers_out_in_words(case: Case) -> None:
    case.trials = load("trials")
    page = case.page()
    assert "The best trial's layers are not at hand" in page.text
    assert "layers" not in page.plots


def test_a_metric_that_never_changed_has_no_curves_of_nothing(case: Case) -> None:
    for trial in case.trials:
        if trial["metrics"]:
            trial["metrics"]["top1_drop"] = 0.0
    case.importance["metrics"]["top1_drop"] = {
        "r2_oob": None,
        "verdict": "not_enough",
        "explanation": "top1_drop is the same in all 18 trials",
        "parameters": [],
    }
    assert "Top1_drop is the same in all 18 trials. No ranking is shown." in case.page().text


def test_a_curve_without_any_spread_still_has_a_scale(case: Case) -> None:
    for entry in case.importance["metrics"]["latency_ratio"]["parameters"]:
        entry["curve"] |= {"mean": [0.7] * len(entry["curve"]["x"])}
        entry["curve"]["sd"] = [0.0] * len(entry["curve"]["x"])
    low, high = case.page().plots["curve-latency_ratio-0"]["layout"]["yaxis"]["range"]
    assert low < 0.7 < high


def test_a_ratio_whose_interval_holds_one_is_called_undecided(case: Case) -> None:
    for trial in case.trials:
        if trial["number"] == 13:
            trial["metrics"] |= {"latency_ratio_low": 0.95, "latency_ratio_high": 1.02}
    assert "cannot tell it from the baseline" in case.page().text


def test_not_a_number_does_not_break_the_page(case: Case) -> None:
    case.importance["metrics"]["latency_ratio"]["parameters"][0]["curve"]["mean"][3] = float("nan")
    curve = case.page().plots["curve-latency_ratio-0"]
    assert curve["data"][1]["y"][3] is None


def test_names_from_users_cannot_become_markup(case: Case) -> None:
    evil = "</script><script>alert(1)</script><img src=x>"
    case.study["name"] = evil
    case.trials[6]["failure"]["reason"] = evil
    case.trials[0]["config"][evil] = evil
    case.importance["metrics"]["latency_ratio"]["parameters"][0]["name"] = evil
    page = case.page()  # its parser checks that every element closes in order
    assert page.links == []
    assert len(page.scripts) == 3


def test_the_same_input_gives_the_same_page_and_is_left_as_it_was(case: Case) -> None:
    before = copy.deepcopy(case.__dict__)
    assert case.page().html == case.page().html
    assert case.__dict__ == before


def test_seeds_versions_and_device_stand_in_the_page(case: Case) -> None:
    text = case.page().text
    for said in ("torch 2.13.0", "3.11.9", "openvino", "2026.4.1", "Intel(R) Xeon(R)", "seed 0"):
        assert said in text


def test_the_servers_own_environment_can_stand_in_a_page(case: Case) -> None:
    case.environment = describe_environment()
    text = case.page().text
    assert f"torch {importlib.metadata.version('torch')}" in text
    assert platform.python_version() in text
