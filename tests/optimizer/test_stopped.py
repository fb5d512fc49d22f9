"""Trials that were ended early teach the models what is known of them, and nothing else."""

import numpy as np
import pytest

from stillhouse_optimizer.evidence import gather
from stillhouse_optimizer.propose import propose
from stillhouse_optimizer.space import Space
from stillhouse_optimizer.spec import Observation, Problem

PROBLEM = Problem.from_mapping(
    {
        "parameters": [{"name": "x", "kind": "float", "low": 0.0, "high": 1.0}],
        "constraints": ["top1_drop <= 0.02"],
        "n_initial": 3,
    }
)


def _complete(x: float, ratio: float, drop: float = 0.0) -> Observation:
    return Observation({"x": x}, {"latency_ratio": ratio, "top1_drop": drop})


def _stopped(x: float, **metrics: float) -> Observation:
    return Observation({"x": x}, metrics, "stopped")


def test_a_stopped_trial_counts_where_it_has_a_value_and_nowhere_else() -> None:
    history = [
        _complete(0.1, 0.9),
        _stopped(0.5, latency_ratio=0.5),
        _complete(0.2, 0.8),
        _stopped(0.6, top1_drop=0.08),
    ]
    evidence = gather(PROBLEM, Space(PROBLEM), history, [])
    assert evidence.is_measured.tolist() == [True, True]  # not counted as failures
    rows, values = evidence.also(evidence.objectives[0][0])
    assert rows[:, 0].tolist() == [0.5]
    assert values.tolist() == pytest.approx([np.log(0.5)])
    ((target, _, _),) = evidence.limits
    rows, values = evidence.also(target)
    assert rows[:, 0].tolist() == [0.6]
    assert values.tolist() == pytest.approx([0.08])


def test_a_config_that_was_stopped_is_not_proposed_again() -> None:
    problem = Problem.from_mapping(
        {
            "parameters": [{"name": "x", "kind": "int", "low": 0, "high": 5}],
            "constraints": ["top1_drop <= 0.02"],
            "n_initial": 1,
        }
    )
    history: list[Observation] = [
        Observation({"x": 0}, {"latency_ratio": 1.0, "top1_drop": 0.0}),
        Observation({"x": 1}, {"latency_ratio": 0.9, "top1_drop": 0.0}),
        Observation({"x": 2}, {"latency_ratio": 0.8, "top1_drop": 0.01}),
        Observation({"x": 4}, {"latency_ratio": 0.6}, "stopped"),
        Observation({"x": 5}, {"top1_drop": 0.3}, "stopped"),
    ]
    (proposal,) = propose(problem, history, [], seed=0)
    assert proposal.config == {"x": 3}


def test_a_bound_on_accuracy_moves_the_search_away() -> None:
    measured = [_complete(x, 1.0 - 0.5 * x, 0.0) for x in (0.0, 0.1, 0.2, 0.3, 0.4)]
    ended = [_stopped(x, top1_drop=0.3) for x in (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)]
    (with_them,) = propose(PROBLEM, [*measured, *ended], [], seed=0)
    (without,) = propose(PROBLEM, measured, [], seed=0)
    free, warned = without.config["x"], with_them.config["x"]
    assert isinstance(free, float) and isinstance(warned, float)
    assert warned < 0.7 < free  # faster there, and without them nothing speaks against it
