import math
from typing import Any

import numpy as np
import pytest

from stillhouse_compression.template import parse_template
from stillhouse_optimizer import Observation, Problem, ProblemError, propose
from stillhouse_optimizer.prior import Prior
from stillhouse_optimizer.space import Space


def _problem(x: dict[str, Any] | None, **more: Any) -> Problem:
    return Problem.from_mapping(
        {
            "parameters": [
                {"name": "x", "kind": "float", "low": 0.0, "high": 10.0, "prior": x},
                {
                    "name": "lr",
                    "kind": "float",
                    "low": 1e-4,
                    "high": 1.0,
                    "log": True,
                    "prior": {"center": 1e-2, "width": 10.0},
                },
                {"name": "y", "kind": "float", "low": 0.0, "high": 1.0},
            ],
            "n_initial": 9,
        }
        | more
    )


def test_a_weight_by_hand_and_how_it_fades() -> None:
    space = Space(_problem({"center": 4.0, "width": 2.0}))
    prior = Prior(space)
    rows = np.array(
        [
            space.encode({"x": 4.0, "lr": 1e-2, "y": 0.3}),
            space.encode({"x": 8.0, "lr": 1e-2, "y": 0.9}),  # two widths away: z^2 / 2 = 2
            space.encode({"x": 4.0, "lr": 1e-1, "y": 0.0}),  # a factor of ten, one width: 1/2
            space.encode({"x": 4.0, "lr": 1.0, "y": 0.0}),  # two widths: 2
        ]
    )
    assert prior.log_weight(rows, 1) == pytest.approx([0.0, -20.0, -5.0, -20.0])
    assert prior.log_weight(rows, 20) == pytest.approx([0.0, -1.0, -0.25, -1.0])


def test_no_value_is_ruled_out() -> None:
    space = Space(_problem({"center": 0.0, "width": 0.001}))
    far = np.array([space.encode({"x": 10.0, "lr": 1e-2, "y": 0.5})])
    assert Prior(space).log_weight(far, 10)[0] == pytest.approx(math.log(1e-6))


def test_half_of_the_first_trials_follow_the_prior_and_all_stay_in_range() -> None:
    problem = _problem({"center": 9.0, "width": 0.5}, n_initial=21)
    configs = [p.config for p in propose(problem, [], [], 0, n=21)][1:]
    near = [c for c in configs if 8.0 <= float(c["x"] or 0.0) <= 10.0]
    assert 9 <= len(near) <= 15  # ten by the prior, two of the other ten by chance
    assert all(0.0 <= float(c["x"] or 0.0) <= 10.0 for c in configs)


def test_the_model_begins_where_the_prior_points_and_leaves_a_wrong_one() -> None:
    def loss(x: float) -> float:
        return 1.0 + 0.01 * (x - 2.0) ** 2

    def asked(prior: dict[str, float] | None, n: int) -> list[float]:
        problem, trials = _problem(prior, surrogate="gp"), list[Observation]()
        while len(trials) < n:
            config = propose(problem, trials, [], 4)[0].config
            told = {"latency_ratio": loss(float(config["x"] or 0.0))}
            trials.append(Observation(config, told))
        return [float(t.config["x"] or 0.0) for t in trials]

    wrong = asked({"center": 8.0, "width": 0.5}, 22)
    assert 6.5 < wrong[9] < 9.5
    assert abs(wrong[-1] - 2.0) < 1.5  # nine proposals later what was measured counts
    assert abs(asked(None, 10)[9] - 2.0) < abs(wrong[9] - 2.0)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"prior": 3}, "parameters[0].prior", "center"),
        ({"prior": {"center": 0.5}}, "parameters[0].prior", "width"),
        ({"prior": {"center": 2.0, "width": 0.1}}, "parameters[0].prior.center", "within 0 and 1"),
        ({"prior": {"center": 0.5, "width": 0.0}}, "parameters[0].prior.width", "above 0"),
        ({"prior": {"center": 0.5, "width": "x"}}, "parameters[0].prior.width", "number"),
        (
            {"low": 0.1, "log": True, "prior": {"center": 0.5, "width": 0.5}},
            "parameters[0].prior.width",
            "factor above 1",
        ),
    ],
)
def test_a_prior_that_makes_no_sense_is_refused(
    changes: dict[str, Any], field: str, words: str
) -> None:
    parameter = {"name": "x", "kind": "float", "low": 0.0, "high": 1.0} | changes
    with pytest.raises(ProblemError, match=words) as refused:
        Problem.from_mapping({"parameters": [parameter]})
    assert refused.value.field == field


METHOD = {"name": "method", "kind": "choice", "choices": ["a", "b", "c"]}
BATCH = {"name": "batch", "kind": "ordinal", "choices": [32, 64, 128], "default": 64}
RAMP = {
    "name": "ramp",
    "kind": "choice",
    "choices": [False, True],
    "condition": [{"parent": "method", "values": ["b"]}],
}


def _listed(**more: Any) -> Problem:
    return Problem.from_mapping(
        {
            "parameters": [
                METHOD | {"prior": {"weights": [8, 2, 1]}},
                BATCH | {"prior": {"weights": [1, 1, 4]}},
                RAMP | {"prior": {"weights": [1, 3]}},
                {"name": "y", "kind": "float", "low": 0.0, "high": 1.0},
            ],
            "n_initial": 9,
        }
        | more
    )


def test_weights_of_choices_by_hand_count_as_shares_of_the_largest() -> None:
    space = Space(_listed())
    rows = np.array(
        [
            space.encode({"method": "a", "batch": 128, "y": 0.3}),
            space.encode({"method": "c", "batch": 128, "y": 0.9}),
            space.encode({"method": "b", "batch": 32, "ramp": False, "y": 0.0}),
            space.encode({"method": "b", "batch": 32, "ramp": True, "y": 0.0}),
        ]
    )
    by_hand = np.log([1.0, 1 / 8, 2 / 8 * 1 / 4 * 1 / 3, 2 / 8 * 1 / 4])
    assert Prior(space).log_weight(rows, 10) == pytest.approx(by_hand)
    assert Prior(space).log_weight(rows, 20) == pytest.approx(by_hand / 2)


def test_a_choice_is_never_ruled_out() -> None:
    listed = METHOD | {"prior": {"weights": [1e6, 1, 1e-6]}}
    space = Space(Problem.from_mapping({"parameters": [listed]}))
    rows = np.array([space.encode({"method": "c"})])
    assert Prior(space).log_weight(rows, 10)[0] == pytest.approx(math.log(1e-6))


def test_half_of_the_first_trials_draw_choices_by_weight() -> None:
    drawn = Prior(Space(_listed())).drawn((np.arange(4400)[:, None] + 0.5).repeat(4, 1) / 4400)
    rows = Space(_listed()).spread(drawn)
    methods, batches = rows[::2, 0], rows[::2, 1]
    assert np.bincount(methods.astype(int)).tolist() == pytest.approx([1600, 400, 200], abs=1)
    counts = np.bincount(batches.astype(int)).tolist()
    assert counts == pytest.approx([2200 / 6, 2200 / 6, 8800 / 6], abs=1)
    assert np.bincount(rows[1::2, 0].astype(int)).tolist() == pytest.approx([733] * 3, abs=1)


def test_the_model_begins_with_the_likeliest_choice_and_leaves_a_wrong_one() -> None:
    def asked(prior: dict[str, Any] | None, n: int) -> list[Any]:
        shape = {"name": "method", "kind": "choice", "choices": list("abcdefgh"), "prior": prior}
        y = {"name": "y", "kind": "float", "low": 0.0, "high": 1.0}
        given = {"parameters": [shape, y], "n_initial": 9, "surrogate": "gp"}
        problem, trials = Problem.from_mapping(given), list[Observation]()
        while len(trials) < n:
            config = propose(problem, trials, [], 4)[0].config
            loss = 1.0 + 0.5 * (float(config["y"] or 0.0) - 0.3) ** 2
            told = {"latency_ratio": loss + 0.05 * (config["method"] != "h")}
            trials.append(Observation(config, told))
        return [t.config["method"] for t in trials]

    weights = [1e-6] * 8
    weights[2] = 1.0
    wrong = asked({"weights": weights}, 24)
    assert wrong[9] == "c"
    assert wrong[1:9].count("c") >= 3  # half of eight, and by chance
    assert "h" in wrong[-6:]  # what was measured counts
    assert asked(None, 10)[9] != "c"


@pytest.mark.parametrize(
    ("prior", "field", "words"),
    [
        ({"center": 1, "width": 2}, "parameters[0].prior", "weights"),
        ([1, 2, 3], "parameters[0].prior", "weights"),
        ({"weights": [1, 2]}, "parameters[0].prior.weights", "wanted 3 weights"),
        ({"weights": {"a": 1}}, "parameters[0].prior.weights", "wanted 3 weights"),
        ({"weights": [1, 0, 1]}, "parameters[0].prior.weights[1]", "between 1e-6 and 1e6"),
        ({"weights": [1, 1, 1e7]}, "parameters[0].prior.weights[2]", "between 1e-6 and 1e6"),
        ({"weights": [1, 1, math.nan]}, "parameters[0].prior.weights[2]", "finite"),
        ({"weights": [1, 1, "x"]}, "parameters[0].prior.weights[2]", "number"),
    ],
)
def test_weights_that_make_no_sense_are_refused(prior: Any, field: str, words: str) -> None:
    with pytest.raises(ProblemError, match=words) as refused:
        Problem.from_mapping({"parameters": [METHOD | {"prior": prior}]})
    assert refused.value.field == field


def test_a_template_tells_the_search_its_priors() -> None:
    template = parse_template(
        "a: !choice {choices: [off, 1, x], prior: {off: 3, x: 0.5}}\n"
        "b: !optional {c: !ordinal {choices: [1, 2], prior: {2: 9}}, prior: {on: 4}}\n"
        "d: !choice {u: 1, v: !float {low: 0, high: 1}, prior: {v: 2}}\n"
    )
    problem = Problem.from_mapping({"parameters": template.to_problem()["parameters"]})
    told = {p.name: dict(zip(p.choices, p.weights, strict=True)) for p in problem.parameters[:4]}
    assert told == {
        "a": {False: 3.0, 1: 1.0, "x": 0.5},
        "b": {"off": 1.0, "on": 4.0},
        "b.c": {1: 1.0, 2: 9.0},
        "d": {"u": 1.0, "v": 2.0},
    }
    assert parse_template(template.to_yaml()) == template
