import json
import math
from collections.abc import Callable
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from stillhouse_optimizer import Importance, Observation, Problem, explain, importance
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
    answer = importance(problem, history, "latency_ratio", 0, with_intervals=False)
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
    answer = importance(problem, history, "latency_ratio", 0, with_intervals=False)
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
    answer = importance(problem, history, "latency_ratio", 0, with_intervals=False)
    wanted = variance / (variance + 9 / 12)
    assert shares(answer)["m"] == pytest.approx(wanted, abs=0.08)
    curve = next(p.curve for p in answer.parameters if p.name == "m")
    assert curve.x == tuple(levels)
    centred = np.array(curve.mean) - np.mean(curve.mean)
    assert centred == pytest.approx(np.array(list(levels.values())), abs=0.25)


def test_an_interaction_gets_its_share() -> None:
    # x0 x1 on 0..1: mains 1/48 each, pair 1/144: shares 3/7, 3/7, 1/7.
    problem, history = study(floats(3), lambda c: float(c["x0"] * c["x1"]), 1000)
    answer = importance(problem, history, "latency_ratio", 0, with_intervals=False)
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
    found = shares(importance(problem, history, "latency_ratio", 0, with_intervals=False))
    assert found["p"] > 0.9
    assert found["c"] < 0.02


@pytest.mark.parametrize("seed", range(10))
def test_a_planted_ranking_and_its_directions_are_recovered(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def f(c: dict[str, Any]) -> float:
        peak = -4 * (c["x2"] - 0.5) ** 2
        return float(4 * c["x0"] - 2 * c["x1"] + 1.2 * peak + rng.normal() * 0.1)

    problem, history = study(floats(6), f, 120, seed)
    answer = importance(problem, history, "latency_ratio", seed, with_intervals=False)
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
        (12, lambda c: crc32(str(c).encode()) % 97 / 97, "too little for a ranking"),
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
    told = explain(problem, history, 0).to_json()
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    data = told["metrics"]["latency_ratio"]
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
    assert x2.recommendation.text == (
        "In all trials no value but 0.5 was tried: nothing can be said."
    )


def test_trials_that_failed_are_counted_as_left_out() -> None:
    problem, history = study(floats(3), lambda c: float(c["x0"]), 40)
    failed = [Observation(o.config, None, "failed") for o in history[:7]]
    answer = importance(problem, [*failed, *history[7:]], "latency_ratio", 0)
    assert (answer.n_trials, answer.n_left_out) == (33, 7)


def test_every_trial_is_either_used_or_left_out_for_a_reason() -> None:
    problem, history = study(floats(3), lambda c: float(c["x0"]), 40)
    config = history[0].config
    odd = [
        Observation(config, None, "failed"),
        Observation(config, None, "unsupported"),
        Observation(config, {"top1_drop": 0.0}),
        Observation(config, {"latency_ratio": math.nan}),
        Observation({"x0": 0.5}, {"latency_ratio": 1.0}),
    ]
    answer = importance(problem, [*odd, *history], "latency_ratio", 0)
    assert answer.used == tuple(range(5, 45))
    assert [(one.why, one.indices) for one in answer.left_out] == [
        ("failed before it was measured", (0,)),
        ("the device cannot run it", (1,)),
        ("latency_ratio was not measured", (2,)),
        ("latency_ratio is not a finite number", (3,)),
        ("its config is none of the search space", (4,)),
    ]
    told = explain(problem, [*odd, *history], 0).to_json(numbers=range(10, 55))
    assert told["metrics"]["latency_ratio"]["trials"] == [[15, 54]]


def switched(n: int, f: Function) -> Any:
    """`c` counts only where `p` is one of the first two of its eight values."""
    parent = {"name": "p", "kind": "ordinal", "choices": list(range(8))}
    condition = [{"parent": "p", "values": [0, 1]}]
    child = {"name": "c", "kind": "float", "low": 0, "high": 1, "condition": condition}
    return study([parent, child], f, n)


def test_a_conditional_curve_is_that_of_the_region_where_it_counts() -> None:
    # Over the whole space it would rise by a quarter of this.
    problem, history = switched(800, lambda c: float(4 * c.get("c", 0.0)))
    answer = importance(problem, history, "latency_ratio", 0, with_intervals=False)
    child = next(p for p in answer.parameters if p.name == "c")
    assert child.curve.mean[-1] - child.curve.mean[0] == pytest.approx(4, abs=0.3)
    assert child.active_share == pytest.approx(0.25, abs=0.05)
    assert child.active_importance == pytest.approx(1.0, abs=0.05)
    assert child.importance < 0.5
    assert next(p for p in answer.parameters if p.name == "p").active_importance is None


def test_a_group_explains_what_its_parameters_do_together() -> None:
    # x0 x1: the two explain all of it, alone 3/7 each; x2 none.
    problem, history = study(floats(3), lambda c: float(c["x0"] * c["x1"]), 1000)
    groups = {"part": {"front": ["x0", "x1"], "back": ["x2"], "gone": ["no such one"]}}
    answer = importance(problem, history, "latency_ratio", 0, groups=groups)
    found = {group.name: group.importance for group in answer.groups}
    assert found == pytest.approx({"front": 1.0, "back": 0.0}, abs=0.05)
    assert all(group.low <= group.importance <= group.high for group in answer.groups)


def test_intervals_hold_the_share_and_narrow_with_more_trials() -> None:
    widths = []
    for n in (40, 640):
        problem, history = study(floats(4), lambda c: float(2 * c["x0"] + c["x1"]), n)
        answer = importance(problem, history, "latency_ratio", 0)
        assert all(0 <= p.low <= p.importance <= p.high <= 1 for p in answer.parameters)
        widths.append(answer.parameters[0].high - answer.parameters[0].low)
    assert widths[1] < 0.5 * widths[0]


def test_around_the_best_trial_each_parameter_is_turned_alone() -> None:
    # At x0 near 0 the product leaves x1 nothing to do, whatever it does elsewhere.
    problem, history = study(floats(3), lambda c: float(c["x0"] * (1 + 3 * c["x1"])), 800)
    answer = explain(problem, history, 0)
    turns = {turn.name: turn for turn in answer.local["latency_ratio"]}
    assert sum(turn.importance for turn in turns.values()) == pytest.approx(1.0)
    assert turns["x0"].importance > 0.9
    x0 = turns["x0"]
    assert isinstance(x0.at_low, float) and x0.at_low < 0.2
    assert isinstance(x0.at_high, float) and x0.at_high > 0.8
    assert answer.incumbent is not None
    assert turns["x0"].value == history[answer.incumbent].config["x0"]
    assert shares(answer.metrics["latency_ratio"])["x1"] > 0.2


def test_the_way_from_the_default_takes_the_change_that_helps_most_first() -> None:
    def f(c: dict[str, Any]) -> float:
        return float(4 * c["x0"] + 2 * c["x1"] + c["x2"])

    problem, history = study(floats(3), f, 400)
    best = {"x0": 0.1, "x1": 0.1, "x2": 0.1}
    history.append(Observation(best, {"latency_ratio": f(best), "top1_drop": 0.0}))
    history = [o for o in history if o.metrics["latency_ratio"] >= f(best)]
    way = explain(problem, history, 0).ablation
    assert way is not None
    assert [step.changes for step in way.steps] == [
        (("x0", 0.5, 0.1),),
        (("x1", 0.5, 0.1),),
        (("x2", 0.5, 0.1),),
    ]
    told = [way.start["latency_ratio"], *(step.metrics["latency_ratio"] for step in way.steps)]
    assert np.diff(told) == pytest.approx([-1.6, -0.8, -0.4], abs=0.3)


def test_the_way_leads_around_forbidden_combinations_or_over_them_at_once() -> None:
    switches = [{"name": name, "kind": "choice", "choices": [0, 1]} for name in "ab"]
    data = {
        "parameters": [*switches, *floats(1)],
        "forbidden": [{"a": 0, "b": 1}, {"a": 1, "b": 0}],
    }
    problem = Problem.from_mapping(data)
    space = Space(problem)
    history = [
        Observation(config, {"latency_ratio": 2.0 - row[0] + row[2]})
        for row in space.sample(200, np.random.default_rng(0))
        for config in [space.decode(row)]
    ]
    way = explain(problem, history, 0).ablation
    assert way is not None
    names = [[name for name, _, _ in step.changes] for step in way.steps]
    assert names == [["x0"], ["a", "b"]]


def test_a_parameter_switched_on_along_the_way_begins_at_its_default() -> None:
    parent = {"name": "p", "kind": "choice", "choices": ["off", "on"]}
    condition = [{"parent": "p", "values": ["on"]}]
    child = {"name": "c", "kind": "float", "low": 0, "high": 1, "condition": condition}
    problem, history = study([parent, child], lambda c: float(2 - c.get("c", -1.0)), 300)
    way = explain(problem, history, 0).ablation
    assert way is not None
    assert [step.changes[0][:2] for step in way.steps] == [("p", "off"), ("c", 0.5)]


def test_without_a_trial_within_the_limits_the_way_is_a_sentence() -> None:
    problem, history = study(floats(2), lambda c: float(c["x0"]), 40)
    bad = [Observation(o.config, {**o.metrics, "top1_drop": 2.0}) for o in history]
    told = explain(problem, bad, 0).to_json()
    assert (told["incumbent"], told["ablation"]) == (None, None)
    assert told["ablation_note"].startswith("No trial meets the limits")


def test_the_recommendation_stands_on_trials_within_the_limits() -> None:
    problem, history = study(floats(2), lambda c: float(1 - c["x0"]), 60)
    judged = [
        Observation(o.config, {**o.metrics, "top1_drop": 2 * o.config["x0"]}) for o in history
    ]
    answer = importance(problem, judged, "latency_ratio", 0)
    best = sorted(o.config["x0"] for o in history if o.config["x0"] <= 0.5)[-5:]
    assert answer.parameters[0].recommendation.text == (
        "latency_ratio falls as it rises; the best 5 trials within top1_drop <= 1 "
        f"use {best[0]:.3g} to {best[-1]:.3g}."
    )
    assert answer.parameters[0].recommendation.values == (best[0], best[-1])


def test_for_a_limited_metric_the_recommendation_is_what_keeps_the_limit() -> None:
    problem, history = study(floats(2), lambda c: float(1 - c["x0"]), 60)
    judged = [
        Observation(o.config, {**o.metrics, "top1_drop": 2 * o.config["x0"]}) for o in history
    ]
    answer = importance(problem, judged, "top1_drop", 0)
    kept = sorted(o.config["x0"] for o in history if o.config["x0"] <= 0.5)
    cut = len(kept) // 10
    low, high = kept[cut], kept[-1 - cut]
    assert answer.parameters[0].recommendation.text == (
        f"top1_drop rises with it; the {len(kept)} trials within top1_drop <= 1 "
        f"use {low:.3g} to {high:.3g} (their middle 80 %)."
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
