import math

import pytest

from stillhouse_optimizer import Observation, Problem
from stillhouse_optimizer.incumbent import Incumbent, incumbent

PROBLEM = Problem.from_mapping(
    {
        "parameters": [{"name": "x", "kind": "float", "low": 0, "high": 1}],
        "constraints": ["top1_drop <= 0.02"],
    }
)


def trial(ratio: float, drop: float, high: float | None = None) -> Observation:
    metrics = {"latency_ratio": ratio, "top1_drop": drop}
    if high is not None:
        metrics["top1_drop_high"] = high
    return Observation({"x": ratio}, metrics)


def test_a_certain_trial_beats_a_faster_one_that_may_be_lucky() -> None:
    history = [trial(0.5, 0.02, 0.03), trial(0.7, 0.0, 0.01), trial(0.4, 0.03, 0.04)]
    assert incumbent(PROBLEM, [*history, trial(0.6, 0.0)]) == Incumbent(1, True)


def test_without_a_bound_the_fastest_that_measures_feasible_is_named_but_uncertain() -> None:
    history = [trial(0.5, 0.02), trial(0.4, 0.03), Observation({"x": 0.1}, None, "failed")]
    assert incumbent(PROBLEM, history) == Incumbent(0, False)


@pytest.mark.parametrize(
    ("limit", "metrics", "certain"),
    [
        ("latency_ratio <= 0.5", {"latency_ratio_high": 0.52}, False),
        ("latency_ratio <= 0.5", {"latency_ratio_high": 0.5}, True),
        ("latency_ratio < 0.5", {"latency_ratio_high": 0.5}, False),
        ("top1 >= 0.9", {"top1": 0.95, "top1_low": 0.89}, False),
        ("top1 >= 0.9", {"top1": 0.95, "top1_low": 0.91}, True),
        ("top1 >= 0.9", {"top1": 0.95}, False),
        ("model_bytes <= 1000", {"model_bytes": 1000.0}, True),
    ],
)
def test_a_limit_holds_for_certain_at_the_unfavourable_end(
    limit: str, metrics: dict[str, float], certain: bool
) -> None:
    problem = Problem.from_mapping(
        {
            "parameters": [{"name": "x", "kind": "float", "low": 0, "high": 1}],
            "constraints": [limit],
        }
    )
    found = incumbent(problem, [Observation({"x": 0.1}, {"latency_ratio": 0.48, **metrics})])
    assert found == Incumbent(0, certain)


def test_without_a_feasible_trial_there_is_none() -> None:
    assert incumbent(PROBLEM, [trial(0.5, 0.5), trial(math.nan, 0.0)]) is None
    assert incumbent(PROBLEM, []) is None


@pytest.mark.parametrize(
    ("metric", "better", "worse"),
    [("latency_ratio", 0.7, 0.8), ("top1", 0.9, 0.8), ("throughput_per_s", 20, 10), ("macs", 1, 2)],
)
def test_each_metric_knows_which_way_is_better(metric: str, better: float, worse: float) -> None:
    problem = Problem.from_mapping(
        {
            "parameters": [{"name": "x", "kind": "float", "low": 0, "high": 1}],
            "objectives": [metric],
        }
    )
    trials = [Observation({"x": 0.1}, {metric: value}) for value in (worse, better, better)]
    assert incumbent(problem, trials) == Incumbent(1, True)
