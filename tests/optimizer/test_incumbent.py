import math

import numpy as np
import pytest
from scipy.stats import norm  # type: ignore[import-untyped]  # scipy has no types

from stillhouse_optimizer import Observation, OptimizerError, Problem
from stillhouse_optimizer.incumbent import Incumbent, PairedCounts, incumbent

PROBLEM = Problem.from_mapping(
    {
        "parameters": [{"name": "x", "kind": "float", "low": 0, "high": 1}],
        "constraints": ["top1_drop <= 0.02"],
    }
)


def trial(ratio: float, drop: float) -> Observation:
    return Observation({"x": ratio}, {"latency_ratio": ratio, "top1_drop": drop})


def test_without_disagreement_the_bound_is_the_exact_binomial_one() -> None:
    # (1 - p)^n = 0.1 at n = 300: p = 1 - 0.1^(1/300) = 0.00765.
    assert PairedCounts(300, 0, 0).upper_bound(0.9) == pytest.approx(1 - 0.1 ** (1 / 300))


def test_for_many_images_the_bound_is_the_normal_one() -> None:
    n, lost, won = 100_000, 3000, 1000
    sd = math.sqrt((lost + won) / n - ((lost - won) / n) ** 2) / math.sqrt(n)
    wanted = 0.02 + float(norm.ppf(0.9)) * sd
    assert PairedCounts(n, lost, won).upper_bound(0.9) == pytest.approx(wanted, abs=2e-5)


def test_the_bound_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    n, lost, won = 300, 0.03, 0.01
    draws = rng.multinomial(n, [lost, won, 1 - lost - won], size=2000)
    covered = [PairedCounts(n, a, b).upper_bound(0.9) >= lost - won for a, b, _ in draws.tolist()]
    assert 0.87 <= np.mean(covered) <= 0.94


def test_fewer_disagreements_at_the_same_drop_are_more_certain() -> None:
    assert PairedCounts(300, 3, 0).upper_bound() < PairedCounts(300, 23, 20).upper_bound()


def test_a_certain_trial_beats_a_faster_one_that_may_be_lucky() -> None:
    history = [trial(0.5, 0.02), trial(0.7, 0.0), trial(0.4, 0.03), trial(0.6, 0.0)]
    counts = [PairedCounts(300, 6, 0), PairedCounts(300, 1, 1), PairedCounts(300, 9, 0), None]
    found = incumbent(PROBLEM, history, counts)
    assert found == Incumbent(1, True, PairedCounts(300, 1, 1).upper_bound())


def test_without_counts_the_fastest_that_measures_feasible_is_named_but_uncertain() -> None:
    history = [trial(0.5, 0.02), trial(0.4, 0.03), Observation({"x": 0.1}, None, "failed")]
    assert incumbent(PROBLEM, history) == Incumbent(0, False, None)


def test_without_a_feasible_trial_there_is_none() -> None:
    assert incumbent(PROBLEM, [trial(0.5, 0.5), trial(math.nan, 0.0)]) is None
    assert incumbent(PROBLEM, []) is None


@pytest.mark.parametrize("counts", [(0, 0, 0), (10, -1, 0), (10, 6, 5)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(OptimizerError):
        PairedCounts(*counts)


def test_as_many_counts_as_trials_are_wanted() -> None:
    with pytest.raises(OptimizerError, match="1 counts for 2 trials"):
        incumbent(PROBLEM, [trial(1, 0), trial(1, 0)], [None])
