import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stillhouse import Study, Trial
from stillhouse_service.watch import Lines, best, doing, outcome, panel, summary

DATA = Path(__file__).parent / "data"


def load(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text())


def running(n_ended: int) -> tuple[Study, list[Trial]]:
    """The study as it looked when `n_ended` trials had ended and one was fine-tuning."""
    study = load("study") | {"state": "running", "final": None, "eta_s": 150.0}
    trials = load("trials")[: n_ended + 1]
    trials[-1] |= {
        "state": "compressing",
        "metrics": None,
        "is_feasible": None,
        "failure": None,
        "finished_at": None,
        "progress": {"stage": "fine-tuning", "epoch": 2, "epochs": 4},
    }
    feasible = [t for t in trials if t["is_feasible"]]
    winner = min(feasible, key=lambda t: t["metrics"]["latency_ratio"], default=None)
    study["incumbent"] = winner and {
        "trial_id": winner["id"],
        "number": winner["number"],
        **winner["metrics"],
    }
    return Study.from_json(study), [Trial.from_json(t) for t in trials]


def test_a_summary_counts_done_running_and_failed_and_tells_the_time_left() -> None:
    study, trials = running(n_ended=10)  # trial 6 failed
    assert summary(study, trials) == "9 of 20 done, 1 running, 1 failed, about 2 min 30 s left"


def test_the_best_feasible_trial_is_told_with_ratio_and_accuracy() -> None:
    study, _ = running(n_ended=10)
    assert best(study) == "best feasible: trial 8, 0.423 ms, ratio 0.692, Top-1 97.33 %"
    study, _ = running(n_ended=0)
    assert best(study) == "best feasible: none yet"


def test_a_running_trial_tells_what_it_does_now() -> None:
    _, trials = running(n_ended=3)
    assert doing(trials[-1]) == "trial 3: compressing, fine-tuning, epoch 2 of 4"
    timing = dict(trials[-1].json) | {
        "state": "benchmarking",
        "progress": {"stage": "timing", "fraction": 0.4},
    }
    assert doing(Trial.from_json(timing)) == "trial 3: benchmarking, timing, 40 %"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (13, "trial 13: 0.412 ms, ratio 0.673, Top-1 97.00 %, feasible"),
        (15, "trial 15: failed in compress: loss is not finite at epoch 1"),
    ],
)
def test_a_trials_end_is_one_line(number: int, said: str) -> None:
    assert outcome(Trial.from_json(load("trials")[number])) == said


def test_lines_tell_each_piece_of_news_once() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    for n_ended in (0, 2, 2, 3):
        lines.tell(*running(n_ended))
    assert [line for line in said if line.startswith("study")] == ["study std_demo running"]
    assert [line.split(":")[0] for line in said if line.startswith("trial")] == [
        "trial 0",
        "trial 1",
        "trial 2",
    ]
    bests = [line for line in said if line.startswith("best")]
    assert len(bests) == 1  # trial 1 stays the best of the first three
    assert bests[0].startswith("best feasible: trial 1")


def test_the_panel_fits_a_narrow_terminal_and_shows_what_runs() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=False)
    console.print(panel(*running(n_ended=10)))
    text = out.getvalue()
    assert "trial 10: compressing, fine-tuning, epoch 2 of 4" in text
    assert "97.33 %  " in text.split("p50", 1)[1]  # the table's figures are not cut short
    assert "9 of 20 done" in text.replace("\n", " ")
    assert max(map(len, text.splitlines())) <= 80


def test_a_reason_with_brackets_is_shown_as_it_is() -> None:
    study, trials = running(n_ended=8)
    broken = dict(copy.deepcopy(trials[6].json)) | {
        "failure": {"stage": "compress", "class": "x", "reason": "weights[0] [red]missing[/red]"}
    }
    trials[6] = Trial.from_json(broken)
    out = io.StringIO()
    Console(file=out, width=120).print(panel(study, trials))
    assert "weights[0] [red]missing[/red]" in out.getvalue()
