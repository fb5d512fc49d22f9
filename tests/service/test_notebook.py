"""The client as a notebook uses it: the example of docs/client.md, data frames, figures."""

import io
import math
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go  # type: ignore[import-untyped]  # ships no types
import pytest

from stillhouse import Client, Importance, StillhouseError, Study
from stillhouse.progress import ProgressLine

DOCS = Path(__file__).parents[2] / "docs"
STUDY: dict[str, Any] = {
    "id": "std_1",
    "name": "digits",
    "state": "running",
    "reason": None,
    "spec": {"budget": {"trials": 20}, "objectives": ["latency_ratio"]},
    "parameters": [],
    "counts": {"complete": 10, "failed": 1, "cancelled": 1, "queued": 2, "feasible": 7},
    "baseline_measurement": None,
    "incumbent": {"trial_id": "trl_1", "number": 7, "latency_ratio": 0.6731},
    "final": None,
    "created_at": "2026-01-01T00:00:00Z",
    "started_at": None,
    "finished_at": None,
    "eta_s": 290.0,
}


def test_the_example_of_the_page_runs_as_it_stands(
    server: Any,
    connect: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = re.search(r"```python\n(.*?)```", (DOCS / "client.md").read_text(), re.DOTALL)
    assert found is not None
    code = found[1].replace("http://127.0.0.1:8470", server.url)
    monkeypatch.chdir(tmp_path)
    ratios = [0.9, 0.8, 0.75, 0.7, 0.85, 0.6, 0.95, 0.72, 0.66, 0.81, 0.77, 0.69]
    host = connect(server)
    is_over = threading.Event()

    def play() -> None:
        while not is_over.wait(0.05):
            server.compute_all()
            for study in server.get("/v1/studies")["items"]:
                host.play(server, study["id"], ratios)

    party = threading.Thread(target=play)
    party.start()
    said: dict[str, Any] = {}
    try:
        exec(compile(code, "docs/client.md", "exec"), said)
    finally:
        is_over.set()
        party.join()
    trials, best = said["trials"], said["best"]
    assert list(trials["values_latency_ratio"]) == ratios
    assert best["values_latency_ratio"].item() == 0.6
    assert str(trials["datetime_start"].dt.tz) == "UTC"
    assert (trials["duration"] >= pd.Timedelta(0)).all()
    assert isinstance(said["figure"], go.Figure)
    assert "latency ratio 0.600" in (tmp_path / "report.html").read_text()
    assert "plotly" in (tmp_path / "importance.html").read_text()
    assert (
        "finished, 12 of 12 trials, best latency_ratio 0.600 (trial 5)" in capsys.readouterr().err
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_that_says_what_has_come_and_what_is_left() -> None:
    log, terminal = io.StringIO(), Terminal()
    for stream in (log, terminal):
        line = ProgressLine(stream)
        line.show(Study.from_json(STUDY))
        line.show(
            Study.from_json(STUDY | {"state": "paused", "eta_s": None, "reason": "disk full"})
        )
        line.show(
            Study.from_json(STUDY | {"state": "paused", "eta_s": None, "reason": "disk full"})
        )
        line.close()
    first = "digits: running, 12 of 20 trials, best latency_ratio 0.673 (trial 7), about 5 min left"
    second = "digits: paused, 12 of 20 trials, best latency_ratio 0.673 (trial 7), disk full"
    assert log.getvalue() == f"{first}\n{second}\n"
    assert terminal.getvalue() == f"\r{first}\r{second.ljust(len(first))}\n"


def importance(verdict: str = "enough") -> Importance:
    curves = {
        "lr": {"x": [0.001, 0.01, 0.1], "mean": [0.9, 0.7, 0.8], "sd": [0.1, 0.1, 0.1]},
        "method": {"x": [None, True, "rows"], "mean": [0.9, 0.7, 0.8], "sd": [0.1, 0.1, 0.1]},
    }
    parameters = [
        {
            "name": name,
            "importance": share,
            "importance_low": share - 0.1,
            "importance_high": share + 0.05,
            "recommendation": "use it",
            "curve": curves[name],
        }
        for name, share in (("lr", 0.5), ("method", 0.2))
    ]
    found = {
        "verdict": verdict,
        "explanation": "So it is.",
        "parameters": parameters if verdict == "enough" else [],
    }
    metrics = {"latency_ratio": found, "top1_drop": found}
    json = {"study_id": "std_1", "n_trials": 40, "metrics": metrics, "ablation": None}
    return Importance.from_json(json)


def test_a_figure_of_importance_has_bars_with_intervals_most_important_on_top() -> None:
    figure = importance().plot()
    (bars,) = figure.data
    assert (list(bars.y), list(bars.x)) == (["method", "lr"], [0.2, 0.5])
    assert np.allclose(bars.error_x.arrayminus, [0.1, 0.1])
    assert figure.layout.title.subtitle.text == "So it is."


def test_a_figure_of_a_curve_keeps_the_parameters_scale() -> None:
    lr = importance().plot_curve("lr", "top1_drop")
    assert (lr.layout.xaxis.type, list(lr.data[0].y)) == ("log", [0.9, 0.7, 0.8])
    method = importance().plot_curve("method")
    assert list(method.data[0].x) == ["null", "True", "rows"]


def test_without_enough_data_a_figure_says_so_and_shows_no_ranking() -> None:
    for figure in (importance("not_enough").plot(), importance("not_enough").plot_curve("lr")):
        assert len(figure.data) == 0
        assert figure.layout.annotations[0].text == "Not enough data for a ranking"
        assert figure.layout.title.subtitle.text == "So it is."


def test_importance_is_a_data_frame_too() -> None:
    frame = importance().dataframe()
    assert list(frame["name"]) == ["lr", "method"] * 2
    assert list(frame["metric"].unique()) == ["latency_ratio", "top1_drop"]
    assert math.isclose(frame["importance"].sum(), 1.4)


def test_names_that_are_not_there_are_answered_with_those_that_are() -> None:
    with pytest.raises(StillhouseError, match="there are latency_ratio, top1_drop"):
        importance().plot("beauty")
    with pytest.raises(StillhouseError, match="there are lr, method"):
        importance().plot_curve("beauty")


def test_a_study_read_without_a_client_says_where_to_get_one() -> None:
    with pytest.raises(StillhouseError, match="get it from one"):
        Study.from_json(STUDY).refresh()


def test_a_study_can_be_asked_by_itself(server: Any, connect: Any) -> None:
    connect(server)
    with Client(server.url) as client:
        study = client.studies.create(server.spec())
        assert study.cancel().state == "cancelled"
        assert study.refresh().state == "cancelled"
        assert study.wait(timeout_s=5).state == "cancelled"
        assert study.trials() == []
        assert len(study.trials_dataframe()) == 0
        assert "No trial has been measured" in study.report("md")
        assert study.importance().of()["verdict"] == "not_enough"
