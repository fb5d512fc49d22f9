import math

import numpy as np
import pytest
from scipy.stats import norm  # type: ignore[import-untyped]  # scipy has no types

from stillhouse_optimizer import OptimizerError, PairedCounts, share_lower_bound


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


@pytest.mark.parametrize("counts", [(0, 0, 0), (10, -1, 0), (10, 6, 5)])
def test_impossible_counts_are_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(OptimizerError):
        PairedCounts(*counts)


def test_a_share_is_bounded_from_below() -> None:
    # All right: p^n = 0.1. None right: nothing is known.
    assert share_lower_bound(300, 300) == pytest.approx(0.1 ** (1 / 300))
    assert share_lower_bound(0, 300) == 0.0
    # Of many: the normal approximation.
    sd = math.sqrt(0.9 * 0.1 / 1e6)
    assert share_lower_bound(900_000, 1_000_000) == pytest.approx(
        0.9 - norm.ppf(0.9) * sd, abs=1e-5
    )


@pytest.mark.parametrize(
    ("n_right", "n_images", "confidence"), [(4, 3, 0.9), (0, 0, 0.9), (1, 2, 1.0)]
)
def test_an_impossible_share_is_refused(n_right: int, n_images: int, confidence: float) -> None:
    with pytest.raises(OptimizerError):
        share_lower_bound(n_right, n_images, confidence)
