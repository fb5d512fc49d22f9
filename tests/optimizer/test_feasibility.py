import math

import pytest

from stillhouse_optimizer import Constraint, is_feasible

LIMITS = (Constraint.parse("top1_drop <= 0.02"), Constraint.parse("model_bytes < 100"))


def test_a_trial_within_every_limit_is_feasible() -> None:
    assert is_feasible({"top1_drop": 0.02, "model_bytes": 99}, LIMITS) == (True, {})


def test_a_violation_is_told_in_the_metric_s_own_unit() -> None:
    feasible, violations = is_feasible({"top1_drop": 0.032, "model_bytes": 100}, LIMITS)
    assert not feasible
    assert violations == {"top1_drop": pytest.approx(0.012), "model_bytes": 0.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_metric_that_is_no_number_is_infeasible_by_an_unknown_amount(value: float | None) -> None:
    metrics = {"model_bytes": 1.0} | ({} if value is None else {"top1_drop": value})
    assert is_feasible(metrics, LIMITS) == (False, {"top1_drop": None})


def test_without_limits_everything_is_feasible() -> None:
    assert is_feasible({}, ()) == (True, {})
