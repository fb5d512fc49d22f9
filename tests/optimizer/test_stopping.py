import math
from typing import Any

import pytest

from stillhouse_optimizer import ProblemError, Proposal
from stillhouse_optimizer.stopping import Budget, stop_reason


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ({"trials": 20}, "all 20 trials are finished"),
        ({"trials": 21}, None),
        ({"wall_s": 100}, "100 s have passed, 100 s were allowed"),
        ({"compute_s": 50}, "60 s of compute are used, 50 s were allowed"),
        ({"wall_s": 101, "compute_s": 61, "trials": None}, None),
        ({}, None),
    ],
)
def test_each_limit_stops_with_its_reason(budget: dict[str, Any], reason: str | None) -> None:
    assert stop_reason(Budget.from_mapping(budget), 20, 100.0, 60.0) == reason


def test_a_proposal_that_promises_too_little_ends_the_study() -> None:
    prediction = {"log_ei": math.log(0.004), "p_feasible": 0.5}
    proposal = Proposal({"x": 1}, "model", prediction)
    budget = Budget(min_gain=0.005)
    assert stop_reason(budget, 1, 0.0, 0.0, proposal) == (
        "the best next trial promises 0.20% on average, less than 0.50%"
    )
    assert stop_reason(Budget(min_gain=0.001), 1, 0.0, 0.0, proposal) is None
    assert stop_reason(budget, 1, 0.0, 0.0, Proposal({"x": 1}, "initial")) is None


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"trials": 0}, "budget.trials"),
        ({"trials": 1.5}, "budget.trials"),
        ({"wall_s": "1"}, "budget.wall_s"),
        ({"hours": 1}, "budget.hours"),
        ([], "budget"),
    ],
)
def test_a_bad_budget_names_its_field(data: Any, field: str) -> None:
    with pytest.raises(ProblemError) as caught:
        Budget.from_mapping(data)
    assert caught.value.field == field
