from collections.abc import Callable, Mapping
from typing import Any

import pytest

from stillhouse_optimizer import Observation, Problem, ProblemError, front, propose
from stillhouse_optimizer.spec import reference_point
from stillhouse_optimizer.stopping import Budget, stop_reason

Make = Callable[..., Problem]
TWO = ["latency_ratio", "top1_drop"]


def _trial(latency: float, drop: float, **more: float) -> Observation:
    return Observation({}, {"latency_ratio": latency, "top1_drop": drop, **more})


def test_the_front_its_limits_and_its_volume_by_hand(mixed_problem: Make) -> None:
    problem = mixed_problem(objectives=TWO)
    history = [
        _trial(0.9, 0.0, top1_drop_high=0.01),
        Observation({}, None, "failed"),
        _trial(0.5, 0.03),  # breaks the limit
        _trial(0.6, 0.01, top1_drop_high=0.03),
        _trial(0.7, 0.01),  # the one before beats it
        _trial(1.5, -0.01, top1_drop_high=0.0),  # on the front, but outside of the reference
    ]
    found = front(problem, history)
    assert found.reference == (1.0, 0.02)
    assert [point.index for point in found.points] == [3, 0, 5]
    assert [point.is_certain for point in found.points] == [False, True, True]
    assert [one.index for one in found.trials if not one.is_feasible] == [2]
    first, both = 0.1 * 0.02, 0.1 * 0.02 + 0.3 * 0.01
    assert found.hypervolume == pytest.approx((first, first, first, both, both, both))
    assert found.constant == ()


def test_more_is_better_where_it_is_and_a_constant_is_told(mixed_problem: Make) -> None:
    problem = mixed_problem(
        objectives=["top1", "params"], constraints=[], reference={"top1": 0.5, "params": 10.0}
    )
    history = [Observation({}, {"top1": t, "params": 4.0}) for t in (0.8, 0.9, 0.7)]
    found = front(problem, history)
    assert [point.index for point in found.points] == [1]
    assert found.hypervolume == pytest.approx((0.3 * 6, 0.4 * 6, 0.4 * 6))
    assert found.constant == ("params",)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"objectives": []}, "objectives", "one to 3"),
        ({"objectives": ["a", "b", "c", "d"]}, "objectives", "got 4"),
        ({"objectives": ["a", "a"]}, "objectives[1]", "twice"),
        ({"objectives": ["macs", 3]}, "objectives[1]", "name"),
        ({"objectives": ["top1", "macs", "top1_drop"]}, "objectives[2]", "the same as top1"),
        (
            {"objectives": ["latency_ratio", "throughput_per_s"]},
            "objectives[1]",
            "the same as latency_ratio",
        ),
        ({"objectives": TWO, "reference": {"macs": 1.0}}, "reference.macs", "no objective"),
        ({"objectives": TWO, "reference": {"top1_drop": "x"}}, "reference.top1_drop", "number"),
        ({"reference": {"latency_ratio": 1.0}}, "reference", "several"),
    ],
)
def test_objectives_that_make_no_front_are_refused(
    changes: dict[str, Any], field: str, words: str, mixed_problem: Make
) -> None:
    with pytest.raises(ProblemError, match=words) as refused:
        mixed_problem(**changes)
    assert refused.value.field == field


def test_a_reference_is_given_or_the_limit_or_said_to_be_missing(mixed_problem: Make) -> None:
    assert reference_point(mixed_problem(objectives=TWO)) == (1.0, 0.02)
    told = mixed_problem(objectives=TWO, reference={"top1_drop": 0.5})
    assert reference_point(told) == (1.0, 0.5)
    with pytest.raises(ProblemError, match="give a limit on it") as refused:
        reference_point(mixed_problem(objectives=["latency_ratio", "macs"]))
    assert refused.value.field == "objectives[1]"


@pytest.mark.parametrize("surrogate", ["forest", "gp"])
def test_a_front_is_found_and_asking_again_gives_the_same(
    surrogate: str, mixed_problem: Make, run: Callable[..., Any]
) -> None:
    problem = mixed_problem(objectives=TWO, surrogate=surrogate)
    trials, proposals = run(problem, 18)
    assert {"latency_ratio", "top1_drop", "log_ehvi", "hypervolume"} <= set(
        proposals[-1].prediction
    )
    again = propose(problem, trials[:17], [], 3)[0]
    assert again == proposals[17]
    # By hand, with lr at its best and no "fine": drop = 0.08 s^2 and ratio = exp(-s), s up to
    # 0.5; the whole front's volume is 0.02 (1 - e^-0.5) less the integral of 0.08 s^2 e^-s.
    found = front(problem, trials)
    assert 0.75 * 0.005567 < found.hypervolume[-1] <= 0.005568
    assert len(found.points) >= 4


def test_running_trials_are_on_the_front_as_expected(
    mixed_problem: Make, run: Callable[..., Any]
) -> None:
    problem = mixed_problem(objectives=TWO)
    history, _ = run(problem, 8)
    at_once = propose(problem, history, [], 3, n=3)
    pending: list[Mapping[str, Any]] = []
    for _ in range(3):
        pending.append(propose(problem, history, pending, 3)[0].config)
    assert [p.config for p in at_once] == pending


def test_three_objectives_and_one_that_never_varies_are_no_trouble(
    mixed_problem: Make, run: Callable[..., Any]
) -> None:
    problem = mixed_problem(objectives=[*TWO, "macs"], reference={"macs": 2.0})
    metrics = run(problem, 6)[0][0].metrics

    def evaluate(config: Mapping[str, Any]) -> dict[str, float]:
        return {**metrics, "latency_ratio": 1 - config["sparsity"] / 2, "macs": 1.0}

    _, proposals = run(problem, 8, evaluate=evaluate)
    assert proposals[-1].origin == "model"
    assert any("macs is the same in all 7 measured trials" in n for n in proposals[-1].notes)


def test_a_gain_of_the_volume_ends_a_study_too(mixed_problem: Make) -> None:
    problem = mixed_problem(objectives=TWO)
    history = [_trial(0.9, 0.0)]
    assert front(problem, history).hypervolume[-1] == pytest.approx(0.002)
    proposal = propose(problem, [], [], 0)[0]
    told = {"log_ehvi": -9.0, "hypervolume": 0.002, "p_feasible": 1.0}  # 6.2 % of it
    promising = type(proposal)({}, "model", told)
    assert stop_reason(Budget(min_gain=0.05), 1, 0.0, 0.0, promising) is None
    assert "6.17%" in str(stop_reason(Budget(min_gain=0.07), 1, 0.0, 0.0, promising))
