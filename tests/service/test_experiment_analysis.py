"""What is said of a sweep follows from its figures: zeros, cuts, layers, noise."""

import math
from typing import Any

import pytest

from stillhouse_service.experiment_analysis import analyse
from stillhouse_service.report.experiment_page import render_experiment
from stillhouse_service.report.experiment_tables import tables


def trial(number: int, ratio: float, **changes: Any) -> dict[str, Any]:
    row = {
        "trial": f"trl_{number}",
        "number": number,
        "case": f"case {number}",
        "algorithm": "filters_l1",
        "domain": "filter",
        "scope": "all",
        "layers": "all",
        "level": 0.5,
        "is_control": False,
        "state": "complete",
        "failure": None,
        "device": "CPU",
        "is_feasible": True,
        "latency_ratio": ratio,
        "latency_ratio_low": ratio - 0.02,
        "latency_ratio_high": ratio + 0.02,
        "is_distinguishable": abs(ratio - 1.0) > 0.02,
        "aa_ratio": 1.01,
        "top1": 0.95,
        "top1_drop": 0.01,
        "mac_share": 0.5,
        "param_share": 0.5,
        "removed_share": 0.5,
        "zero_share": 0.0,
    }
    return row | changes


def masked(number: int, ratio: float, zeros: float) -> dict[str, Any]:
    return trial(
        number,
        ratio,
        algorithm="element_agp",
        domain="element",
        mac_share=1.0,
        param_share=1.0,
        removed_share=0.0,
        zero_share=zeros,
    )


def layer(number: int, name: str, now_ms: float, **changes: Any) -> dict[str, Any]:
    row = {
        "trial": f"trl_{number}",
        "algorithm": "filters_l1",
        "layer": name,
        "type": "Conv2d",
        "position": 0.0,
        "dense_weights": 100,
        "dense_macs": 1000,
        "filters": 4,
        "channels": 3,
        "mac_share": 0.5,
        "zero_share": 0.0,
        "candidate_ms": now_ms,
        "baseline_ms": 2.0,
    }
    return row | changes


CUTS = [trial(i, 0.4 + 0.1 * i, mac_share=0.2 + 0.1 * i, top1_drop=0.01 * i) for i in range(5)]
MASKS = [masked(10 + i, 1.0 + 0.005 * (-1) ** i, 0.3 + 0.1 * i) for i in range(6)]


def said(trials: list[dict[str, Any]]) -> str:
    return " ".join(analyse(trials, [])["conclusions"])


def test_zeros_left_in_place_are_told_from_filters_that_are_gone() -> None:
    found = analyse([*CUTS, *MASKS], [])
    assert found["kinds"]["masked"]["n_measured"] == 6
    assert found["kinds"]["masked"]["n_faster"] == 0
    assert found["kinds"]["removed"]["n_faster"] == 5
    # the geometric mean of 0.4, 0.5, 0.6, 0.7, 0.8
    mean = math.prod([0.4, 0.5, 0.6, 0.7, 0.8]) ** 0.2
    assert found["kinds"]["removed"]["mean_ratio"] == pytest.approx(mean)
    text = " ".join(found["conclusions"])
    assert "Masked zeros do not speed up this device: 6 trials" in text
    assert "Removed filters do speed up this device: 5 trials" in text
    assert "No trial of these was distinguishably faster: element_agp." in text


def test_a_device_that_is_faster_with_zeros_is_not_denied() -> None:
    text = said([masked(i, 0.7 + 0.01 * i, 0.5) for i in range(6)])
    assert "Masked zeros do speed up this device" in text


def test_few_noisy_trials_that_agree_by_chance_are_not_taken_for_sure() -> None:
    ends = {"latency_ratio_low": 0.75, "latency_ratio_high": 1.35, "is_distinguishable": False}
    text = said([masked(i, 1.0 + 0.001 * i, 0.5) | ends for i in range(3)])
    assert "stays open" in text


def test_noise_that_hides_the_answer_is_admitted() -> None:
    text = said([masked(i, ratio, 0.5) for i, ratio in enumerate([0.8, 1.2, 0.9, 1.1])])
    assert "stays open" in text
    assert "too few to say" in said(MASKS[:2])


def test_an_unchanged_network_that_seems_to_differ_is_a_warning() -> None:
    control = trial(0, 0.9, algorithm="none", domain="none", is_control=True, mac_share=1.0)
    assert "the device was not quiet" in said([control, *CUTS])
    assert "the device was not quiet" not in said([control | {"is_distinguishable": False}, *CUTS])


def test_the_best_case_keeps_the_limits() -> None:
    fast_but_wrong = trial(9, 0.1, is_feasible=False)
    found = analyse([*CUTS, fast_but_wrong], [])
    (one,) = found["algorithms"]
    assert one["best"]["case"] == "case 0"
    assert "case 0: ratio 0.400" in " ".join(found["conclusions"])


def test_ranks_that_agree_correlate_by_one_and_constants_by_nothing() -> None:
    found = analyse(CUTS, [])["correlations"]
    of = {(one["trials"], one["of"]): one["rho"] for one in found}
    assert of["removed", "mac_share"] == pytest.approx(1.0)
    assert of["removed", "param_share"] is None  # all the same
    assert of["masked", "mac_share"] is None  # there are none


def test_a_layer_is_worth_it_when_it_alone_makes_the_network_faster() -> None:
    worth = trial(0, 0.9, scope="layer", layers="conv1")
    idle = trial(1, 1.0, scope="layer", layers="conv2")
    unsure = trial(2, 0.97, scope="layer", layers="fc", is_distinguishable=False)
    layers = [
        layer(0, "conv1", 1.0),
        layer(0, "conv2", 2.0, mac_share=1.0),
        layer(1, "conv1", 2.0, mac_share=1.0, zero_share=0.5),
        layer(1, "conv2", 1.9, dense_macs=3000),
        layer(2, "fc", 1.0),
    ]
    found = analyse([worth, idle, unsure], layers)
    by_name = {row["layer"]: row for row in found["layers"]}
    assert {name: row["gain"] for name, row in by_name.items()} == {
        "conv1": "yes",  # 0.88 to 0.92
        "conv2": "no",  # 0.98 to 1.02: no gain of 2 %
        "fc": "open",  # 0.95 to 0.99, though the job could not tell it from 1
    }
    assert by_name["conv1"]["cut"] == {"n": 1, "ratio": 0.5, "low": None, "high": None}
    assert by_name["conv1"]["masked"]["ratio"] == pytest.approx(1.0)
    assert by_name["conv1"]["time_share"] == pytest.approx(0.5)
    text = " ".join(found["conclusions"])
    assert "1 of 3 layers made the whole network distinguishably faster: conv1" in text
    assert "Not worth compressing by itself: conv2." in text
    assert "when cut alone: fc." in text


def test_a_factor_that_decides_everything_has_the_whole_variance() -> None:
    rows = [trial(i, 0.5 if i % 2 else 0.9, level=0.5 if i % 2 else 0.25) for i in range(6)]
    shares = {one["factor"]: one["share"] for one in analyse(rows, [])["variance"]}
    assert shares == {"level": pytest.approx(1.0)}


def test_a_ranking_that_beats_chance_is_named() -> None:
    random = [trial(20 + i, 0.6, algorithm="filters_random", is_control=True) for i in range(2)]
    worse = [row | {"top1_drop": 0.2} for row in random]
    assert "kept more accuracy in the median: filters_l1" in said([*CUTS, *worse])
    assert "no ranking kept more accuracy" in said([*CUTS, *[r | {"top1_drop": 0} for r in random]])


def test_nothing_measured_breaks_nothing() -> None:
    empty = {
        "latency_ratio": None,
        "latency_ratio_low": None,
        "latency_ratio_high": None,
        "is_distinguishable": None,
        "state": "failed",
        "failure": "diverged | at once",
        "mac_share": None,
        "zero_share": None,
        "is_feasible": None,
        "top1": None,
        "top1_drop": None,
    }
    rows = [trial(0, 1.0) | empty]
    found = analyse(rows, [])
    assert found["n_failed"] == 1
    assert found["conclusions"][0] == "Nothing was measured."
    evaluation: dict[str, Any] = {
        "model": "m",
        "dataset": "d",
        "device": "CPU",
        "constraints": [],
        "baseline": None,
    }
    evaluation |= {"trials": rows, "analysis": found}
    experiment = {"id": "exp_1", "name": "<b>", "stage": "sweep", "state": "failed", "notes": []}
    page = render_experiment(experiment | {"counts": {}, "n_trials": 1}, [evaluation])
    assert "&lt;b&gt;" in page
    table = next(table for table in tables(evaluation) if table.title == "Trials")
    assert "diverged \\| at once" in table.to_markdown()
