"""The command line against a real server; compute and the device host are scripted."""

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def study_file(server: Any, tmp_path: Path) -> Path:
    spec = server.spec(baseline="unset")
    (tmp_path / "template.yaml").write_text(spec["template"])
    path = tmp_path / "study.yaml"
    training = "".join(f"  {line}\n" for line in spec["training"].splitlines())
    path.write_text(
        "name: letters\n"
        "baseline: {model: resnet20_cifar, dataset: digits}\n"
        "device: CPU\n"
        "template: template.yaml\n"
        f"training:\n{training}"
        "constraints: [top1_drop <= 0.02]\n"
        "budget: {trials: 2}\n"
    )
    return path


def test_no_server_is_said_in_words_with_a_status_of_its_own(run: Run) -> None:
    status, out, err = run("study", "list", "--server", "http://127.0.0.1:9")
    assert status == 3
    assert out == ""
    assert "no answer from http://127.0.0.1:9" in err
    assert "stillhouse serve" in err
    assert "Traceback" not in err


def test_a_study_is_created_from_a_file_with_its_baseline_trained_first(
    at: Run, server: Any, connect: Any, study_file: Path
) -> None:
    connect(server)
    done = threading.Event()

    def compute() -> None:
        while not done.wait(0.05):
            server.compute_all()

    helper = threading.Thread(target=compute)
    helper.start()
    try:
        status, out, err = at("study", "create", str(study_file), "--json", "--trials", "5")
        again = json.loads(at("study", "create", str(study_file), "--json")[1])
    finally:
        done.set()
        helper.join()
    assert (status, "complete" in err) == (0, True)
    study = json.loads(out)
    assert (study["name"], study["spec"]["budget"]) == ("letters", {"trials": 5})
    assert again["spec"]["baseline"] == study["spec"]["baseline"]  # found, not trained again
    assert len(server.get("/v1/baselines")["items"]) == 1


def test_every_problem_of_a_refused_study_is_printed_with_its_path(
    at: Run, server: Any, study_file: Path
) -> None:
    text = study_file.read_text()
    baseline = server.baseline()
    text = text.replace("{model: resnet20_cifar, dataset: digits}", baseline)
    text = text.replace("low: 0.001, high: 0.1", "low: 0.1, high: 0.001")
    study_file.write_text(text.replace("device: CPU", "device: TOASTER"))
    status, _, err = at("study", "create", str(study_file))
    assert status == 2
    assert re.search(r"^  device: ", err, re.M)
    assert re.search(r"^  training\.lr", err, re.M)
    assert "Traceback" not in err


def test_a_file_that_is_not_there_is_a_line_not_a_trace(run: Run, tmp_path: Path) -> None:
    status, _, err = run("study", "create", str(tmp_path / "nowhere.yaml"))
    assert (status, "no file" in err, "Traceback" in err) == (2, True, False)


def test_an_unknown_study_is_a_line_not_a_trace(at: Run) -> None:
    status, _, err = at("study", "show", "std_none")
    assert status == 2
    assert "std_none" in err


def test_a_study_is_watched_to_its_end_and_then_listed_and_shown(
    at: Run, server: Any, connect: Any, tmp_path: Path
) -> None:
    host = connect(server)
    study_id = server.study(budget={"trials": 2})
    helper = threading.Thread(target=host.play, args=(server, study_id, [0.8, 0.7]))
    helper.start()
    status, out, _ = at("study", "watch", study_id)
    helper.join()
    assert status == 0
    assert "trial 0: 1.600 ms, ratio 0.800, Top-1 98.00 %, feasible" in out
    assert "best feasible: trial 1, 1.400 ms, ratio 0.700" in out
    assert out.rstrip().splitlines()[-2] == f"{study_id} is finished: all 2 trials are finished"

    assert re.search(rf"{study_id} +digits +finished +2 of 2 +0\.700", at("study", "list")[1])
    assert "best feasible: trial 1" in at("study", "show", study_id)[1]
    assert "0.700" in at("trial", "list", study_id)[1]

    trials = json.loads(at("trial", "list", study_id, "--json")[1])
    assert [trial["number"] for trial in trials] == [0, 1]
    shown = at("trial", "show", trials[1]["id"])[1]
    assert "pruners.filters.final_sparsity" in shown
    assert "conv1" in shown
    assert "cut conv1: 16 -> 8 filters" in shown
    schedule = at("trial", "show", trials[1]["id"], "--schedule")[1]
    assert yaml.safe_load(schedule)["pruners"]["filters"]["group_type"] == "Filters"


def test_report_and_importance_of_two_trials_are_words_not_errors(
    at: Run, server: Any, connect: Any, tmp_path: Path
) -> None:
    study_id = server.study(budget={"trials": 2})
    connect(server).play(server, study_id, [0.8, 0.7])
    path = tmp_path / "r.html"
    assert at("report", study_id, "-o", str(path))[:2] == (0, f"{path}\n")
    assert "latency ratio 0.700" in path.read_text()
    assert at("report", study_id, "-o", str(tmp_path / "r.md"))[0] == 0
    assert (tmp_path / "r.md").read_text().startswith("# digits\n")
    status, out, _ = at("importance", study_id)
    assert status == 0
    assert "No ranking is shown" in out
    assert at("importance", study_id, "--csv")[1].startswith("metric,verdict,")


def test_a_cancelled_study_says_so_and_watching_it_fails(
    at: Run, server: Any, connect: Any
) -> None:
    connect(server)
    study_id = server.study()
    assert at("study", "cancel", study_id) == (0, f"{study_id} is cancelled\n", "")
    status, out, _ = at("study", "watch", study_id)
    assert (status, f"{study_id} is cancelled" in out) == (1, True)


def test_a_recipe_that_is_no_assignment_is_refused_before_anything_is_sent(run: Run) -> None:
    status, _, err = run("train", "resnet20_cifar", "--set", "epochs")
    assert (status, "wanted NAME=VALUE" in err) == (2, True)


def test_a_template_is_written_from_a_network(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    status, out, _ = run("template", "resnet20_cifar", "--per", "stage", "-o", str(path))
    assert (status, out) == (0, f"{path}\n")
    assert "!float" in path.read_text()


def test_a_template_for_an_unknown_network_names_those_there_are(run: Run) -> None:
    status, _, err = run("template", "resnet21_cifar")
    assert (status, "resnet20_cifar" in err, "Traceback" in err) == (2, True, False)


def test_a_bench_is_run_by_name_and_gets_its_own_options(run: Run) -> None:
    status, _, said = run("bench", "optimizer")
    assert status == 2
    assert "no bench 'optimizer'" in said
    assert "optimiser" in said
    # argparse's own status for an option it does not know: the option came through.
    assert run("bench", "optimiser", "--no-such-option")[0] == 2
