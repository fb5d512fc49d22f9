import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stillhouse_optimizer import Importance, Observation, Problem, importance
from stillhouse_optimizer.advice import read_curve
from stillhouse_optimizer.parameter import Parameter
from stillhouse_optimizer.space import Space

Function = Callable[[dict[str, Any]], float]


def floats(n: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"name": f"x{i}", "kind": "float", "low": 0, "high": 1} | changes for i in range(n)]


def study(parameters: list[dict[str, Any]], f: Function, n: int, seed: int = 0) -> Any:
    problem = Problem.from_mapping({"parameters": parameters, "constraints": ["top1_drop <= 1"]})
    space = Space(problem)
    history = []
    for row in space.sample(n, np.random.default_rng(seed)):
        config = space.decode(row)
        metrics = {"latency_ratio": f(dict(config)), "top1_drop": 0.0}
        history.append(Observation(config, metrics))
    return problem, history


def shares(answer: Importance) -> dict[str, float]:
    return {p.name: p.importance for p in answer.parameters}


def test_an_additive_function_s_shares_are_found() -> None:
    # Variances of a x on 0..1 are a^2 / 12: shares 9 : 4 : 1 of 14.
    problem, history = study(floats(5), lambda c: float(3 * c["x0"] + 2 * c["x1"] - c["x2"]), 1000)
    answer = importance(problem, history, "latency_ratio", 0)
    assert answer.verdict == "enough"
    wanted = {"x0": 9 / 14, "x1": 4 / 14, "x2": 1 / 14, "x3": 0.0, "x4": 0.0}
    assert shares(answer) == pytest.approx(wanted, abs=0.03)
    assert [p.name for p in answer.parameters][:3] == ["x0", "x1", "x2"]
    directions = {p.name: p.direction for p in answer.parameters}
    assert [directions[f"x{i}"] for i in range(3)] == ["up", "up", "down"]


def test_a_log_scaled_parameter_is_measured_on_its_log_scale() -> None:
    lr = {"name": "lr", "kind": "float", "low": 1e-4, "high": 1e-1, "log": True}
    # log10(lr) is uniform on a range of 3: variance 9 / 12; x0 with weight 3 has as much.
    problem, history = study(
        [lr, *floats(2)], lambda c: float(math.log10(c["lr"]) + 3 * c["x0"]), 1000
    )
    answer = importance(problem, history, "latency_ratio", 0)
    assert shares(answer) == pytest.approx({"lr": 0.5, "x0": 0.5, "x1": 0.0}, abs=0.03)
    curve = next(p.curve for p in answer.parameters if p.name == "lr")
    assert (curve.x[0], curve.x[-1]) == (1e-4, 1e-1)
    assert curve.x[16] == pytest.approx(10**-2.5)


def test_a_choice_gets_its_share() -> None:
    levels = {"a": 0.0, "b": 2.0, "c": -1.0, "d": 0.5, "e": -1.5}
    choice = {"name": "m", "kind": "choice", "choices": list(levels)}
    variance = float(np.var(list(levels.values())))
    problem, history = study(
        [choice, *floats(2)], lambda c: float(levels[c["m"]] + 3 * c["x0"]), 1000
    )
    answer = importance(problem, history, "latency_ratio", 0)
    wanted = variance / (variance + 9 / 12)
    assert shares(answer)["m"] == pytest.approx(wanted, abs=0.08)
    curve = next(p.curve for p in answer.parameters if p.name == "m")
    assert curve.x == tuple(levels)
    centred = np.array(curve.mean) - np.mean(curve.mean)
    assert centred == pytest.approx(np.array(list(levels.values())), abs=0.25)


def test_an_interaction_gets_its_share() -> None:
    # x0 x1 on 0..1: mains 1/48 each, pair 1/144: shares 3/7, 3/7, 1/7.
    problem, history = study(floats(3), lambda c: float(c["x0"] * c["x1"]), 1000)
    answer = importance(problem, history, "latency_ratio", 0)
    assert answer.r2_oob is not None and answer.r2_oob >= 0.9
    assert shares(answer) == pytest.approx({"x0": 3 / 7, "x1": 3 / 7, "x2": 0.0}, abs=0.04)
    first = answer.pairs[0]
    assert set(first[:2]) == {"x0", "x1"}
    assert first[2] == pytest.approx(1 / 7, abs=0.04)


def test_a_conditional_child_does_not_take_its_parent_s_share() -> None:
    parent = {"name": "p", "kind": "choice", "choices": ["off", "on"]}
    child = {
        "name": "c",
        "kind": "float",
        "low": 0,
        "high": 1,
        "condition": [{"parent": "p", "values": ["on"]}],
    }
    # The parent alone matters; inactive children at a fixed value would mirror it.
    problem, history = study(
        [parent, child, *floats(1)], lambda c: float((c["p"] == "on") + 0.3 * c["x0"]), 400
    )
    found = shares(importance(problem, history, "latency_ratio", 0))
    assert found["p"] > 0.9
    assert found["c"] < 0.02


@pytest.mark.parametrize("seed", range(10))
def test_a_planted_ranking_and_its_directions_are_recovered(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def f(c: dict[str, Any]) -> float:
        peak = -4 * (c["x2"] - 0.5) ** 2
        return float(4 * c["x0"] - 2 * c["x1"] + 1.2 * peak + rng.normal() * 0.1)

    problem, history = study(floats(6), f, 120, seed)
    answer = importance(problem, history, "latency_ratio", seed)
    assert [(p.name, p.direction) for p in answer.parameters[:3]] == [
        ("x0", "up"),
        ("x1", "down"),
        ("x2", "peaked"),
    ]


@pytest.mark.parametrize(
    ("n", "f", "words"),
    [
        (2, lambda c: c["x0"], "2 trials have a value of latency_ratio"),
        (40, lambda c: 1.0, "the same in all 40 trials"),
        (40, lambda c: math.nan, "0 trials have a value"),
        (12, lambda c: hash(str(c)) % 97 / 97, "too little for a ranking"),
    ],
)
def test_without_enough_data_there_is_a_sentence_and_no_ranking(
    n: int, f: Function, words: str
) -> None:
    problem, history = study(floats(8), f, n)
    answer = importance(problem, history, "latency_ratio", 0)
    assert answer.verdict == "not_enough"
    assert words in answer.explanation
    assert answer.parameters == () and answer.pairs == ()


def test_the_json_holds_what_the_api_promises_and_no_nan() -> None:
    parameters = [*floats(3), {"name": "m", "kind": "choice", "choices": [None, True, "a"]}]
    problem, history = study(parameters, lambda c: float(c["x0"]), 60)
    data = importance(problem, history, "latency_ratio", 0).to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert {"r2_oob", "verdict", "explanation", "parameters"} <= set(data)
    wanted = {"name", "importance", "direction", "recommendation", "curve"}
    for entry in data["parameters"]:
        assert wanted <= set(entry)
        assert len(entry["curve"]["x"]) == len(entry["curve"]["mean"]) == len(entry["curve"]["sd"])


def test_a_parameter_that_never_varied_has_no_share() -> None:
    problem, history = study(floats(3), lambda c: float(c["x0"]), 60)
    fixed = [Observation({**o.config, "x2": 0.5}, o.metrics) for o in history]
    found = importance(problem, fixed, "latency_ratio", 0)
    x2 = next(p for p in found.parameters if p.name == "x2")
    assert (x2.importance, x2.direction, x2.rank_correlation) == (0.0, "none", None)


def test_trials_that_failed_are_counted_as_left_out() -> None:
    problem, history = study(floats(3), lambda c: float(c["x0"]), 40)
    failed = [Observation(o.config, None, "failed") for o in history[:7]]
    answer = importance(problem, [*failed, *history[7:]], "latency_ratio", 0)
    assert (answer.n_trials, answer.n_left_out) == (33, 7)


def test_the_recommendation_stands_on_trials_within_the_limits() -> None:
    problem, history = study(floats(2), lambda c: float(1 - c["x0"]), 60)
    judged = [
        Observation(o.config, {**o.metrics, "top1_drop": 2 * o.config["x0"]}) for o in history
    ]
    answer = importance(problem, judged, "latency_ratio", 0)
    best = sorted(o.config["x0"] for o in history if o.config["x0"] <= 0.5)[-5:]
    assert answer.parameters[0].recommendation == (
        "latency_ratio falls as it rises; the best 5 trials within top1_drop <= 1 "
        f"use {best[0]:.3g} to {best[-1]:.3g}."
    )


@pytest.mark.parametrize(
    ("curve", "direction"),
    [
        ([0, 1, 2, 3], "up"),
        ([3, 2, 2, 0], "down"),
        ([0, 2, 3, 1], "peaked"),
        ([3, 1, 0, 2], "valley"),
        ([1, 1, 1, 1], "none"),
        ([0, 1, 0.1, 0.9, 0.0], "peaked"),
    ],
)
def test_a_curve_reads_as_its_shape(curve: list[float], direction: str) -> None:
    parameter = Parameter.from_mapping(floats(1)[0])
    assert read_curve(parameter, curve, [0.1] * len(curve)).direction == direction


def test_a_curve_within_its_own_uncertainty_has_no_direction() -> None:
    parameter = Parameter.from_mapping(floats(1)[0])
    assert read_curve(parameter, [0, 1, 2], [3.0, 3.0, 3.0]).direction == "none"
