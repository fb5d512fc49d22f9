import math
from typing import Any

import numpy as np
import pytest

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


def test_a_choice_has_no_prior() -> None:
    parameter = {"name": "x", "kind": "choice", "choices": [1, 2], "prior": {"center": 1}}
    with pytest.raises(ProblemError, match="has no prior"):
        Problem.from_mapping({"parameters": [parameter]})
