"""What the demo says at its end, from the made-up study in data/."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stillhouse_service.demo_outputs import summary, write_summary
from stillhouse_service.demo_text import print_result
from stillhouse_service.report import Facts

DATA = Path(__file__).parent / "data"
FILES = {"report": Path("demo/report.html")}


def load(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text())


@pytest.fixture
def facts() -> Facts:
    winner = load("winner")
    trials = [winner if t["id"] == winner["id"] else t for t in load("trials")]
    return Facts(load("study"), trials, load("baseline"))


@pytest.fixture
def nothing_feasible() -> Facts:
    study = load("study") | {"incumbent": None, "final": None}
    trials = load("trials")
    for trial in trials:
        if trial["metrics"]:
            trial |= {"is_feasible": False, "violations": {"top1_drop": 0.03}}
    return Facts(study, trials, load("baseline"))


def printed(facts: Facts, importance: Any) -> str:
    out = io.StringIO()
    print_result(Console(file=out, width=120, markup=False), facts, importance, FILES)
    return " ".join(out.getvalue().split())


def test_the_end_is_told_with_both_splits_the_limit_and_the_files(facts: Facts) -> None:
    said = printed(facts, load("importance"))
    assert "Latency p50 0.612 ms 0.412 ms −33 %" in said
    assert "Latency ratio in the trial's job 1 0.673 (0.664 to 0.683)" in said
    assert "Top-1, validation split (selection) 99.00 % 97.00 % −2.00 points" in said
    assert "Top-1, test split (report) 98.99 % 97.59 % −1.41 points" in said
    assert "Parameters 272,474" in said
    assert "MACs 40.81 M" in said
    assert "7 of 18 measured trials break it" in said
    assert said.endswith("demo/report.html")


def test_the_three_most_important_parameters_are_told_with_what_to_do(facts: Facts) -> None:
    said = printed(facts, load("importance"))
    assert "What mattered for Latency ratio: enough data" in said
    assert "1. pruners.stage1.final_sparsity, 46 % (32 to 62): latency_ratio falls" in said
    assert "3. pruners.stage3.final_sparsity" in said
    assert "4. training" not in said
    assert "4. pruners" not in said


def test_no_parameters_are_ranked_without_data(facts: Facts) -> None:
    importance = load("importance")
    for found in importance["metrics"].values():
        found |= {"verdict": "not_enough", "explanation": "too few trials"}
    said = printed(facts, importance)
    assert "Too few trials. No ranking is shown." in said
    assert "1. pruners" not in said
    top = summary(facts, importance, FILES)["importance"]["latency_ratio"]["top"]
    assert top == []


def test_without_a_feasible_trial_the_end_says_so(nothing_feasible: Facts) -> None:
    assert "No trial is feasible: none of 18 measured trials" in printed(
        nothing_feasible, load("importance")
    )
    content = summary(nothing_feasible, load("importance"), FILES)
    assert (content["winner"], content["n_feasible"], content["share_infeasible"]) == (None, 0, 1.0)


def test_a_summary_is_there_whole_or_not_at_all(tmp_path: Path, facts: Facts) -> None:
    path = tmp_path / "summary.json"
    write_summary(path, summary(facts, load("importance"), FILES))
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]
    content = json.loads(path.read_text())
    assert content["winner"]["test"]["split"] == "test"
    assert content["share_infeasible"] == pytest.approx(7 / 18)
