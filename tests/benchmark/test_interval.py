"""The interval of a latency ratio: tables, arithmetic and coverage on made-up noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stillhouse_benchmark.interval import (
    AGAIN,
    BASELINE,
    CANDIDATE,
    estimate_ratio,
    student_t_quantile,
)


@pytest.mark.parametrize(
    ("p", "df", "quantile"),
    [  # any printed table of Student's t
        (0.975, 1, 12.706),
        (0.975, 4, 2.776),
        (0.975, 9, 2.262),
        (0.995, 10, 3.169),
        (0.95, 30, 1.697),
        (0.5, 7, 0.0),
    ],
)
def test_student_t_quantiles_are_those_of_the_tables(p: float, df: int, quantile: float) -> None:
    assert student_t_quantile(p, df) == pytest.approx(quantile, abs=6e-4)


def rounds_of(
    rng: np.random.RandomState, n: int, ratio: float, between: float, within: float
) -> list[dict[str, np.ndarray]]:
    """Compilations that differ by ``between`` and runs by ``within`` (relative)."""

    def blocks(level: float) -> np.ndarray:
        compiled = level * math.exp(rng.normal(0.0, between))
        return compiled * np.exp(rng.normal(0.0, within, size=(6, 10)))

    return [{CANDIDATE: blocks(ratio), BASELINE: blocks(1.0), AGAIN: blocks(1.0)} for _ in range(n)]


def test_noiseless_times_give_the_exact_ratio_and_no_interval() -> None:
    times = {CANDIDATE: np.full((3, 4), 2.0), BASELINE: np.full((3, 4), 5.0)}
    estimate = estimate_ratio([{**times, AGAIN: np.full((3, 4), 5.0)}] * 3, 1, True)
    assert estimate.ratio == pytest.approx(0.4)
    assert (estimate.low, estimate.high) == pytest.approx((0.4, 0.4))
    assert estimate.aa_ratio == pytest.approx(1.0)


def test_the_baselines_two_compilations_count_alike() -> None:
    # sqrt(2 * 8) = 4: the candidate at 4 is as fast as the two baselines together; A/A is 2 / 8.
    times = {CANDIDATE: np.full((2, 3), 4.0), BASELINE: np.full((2, 3), 2.0)}
    estimate = estimate_ratio([{**times, AGAIN: np.full((2, 3), 8.0)}] * 2, 1, True)
    assert estimate.ratio == pytest.approx(1.0)
    assert estimate.aa_ratio == pytest.approx(0.25)


def test_the_interval_holds_the_truth_in_at_least_95_of_100_jobs() -> None:
    # Five compilations that differ by 2.5 %, as measured on CPUs; 100 jobs: 2 sd = 4 %.
    rng = np.random.RandomState(3)
    held = 0
    for job in range(100):
        estimate = estimate_ratio(rounds_of(rng, 5, 0.7, 0.025, 0.05), 1, True, seed=job)
        held += estimate.low <= 0.7 <= estimate.high
    assert held >= 91


@pytest.mark.slow  # forty jobs of up to forty compilations
def test_stopping_at_the_first_narrow_interval_does_not_make_it_too_narrow() -> None:
    rng = np.random.RandomState(4)
    held = 0
    for job in range(40):
        rounds = rounds_of(rng, 5, 1.0, 0.025, 0.05)
        n_looks = 1
        estimate = estimate_ratio(rounds, n_looks, True, seed=job)
        while estimate.half_width > 0.03 and n_looks < 4:
            rounds += rounds_of(rng, len(rounds), 1.0, 0.025, 0.05)
            n_looks += 1
            estimate = estimate_ratio(rounds, n_looks, True, seed=job)
        held += estimate.low <= 1.0 <= estimate.high
    assert held >= 36


def test_later_looks_get_wider_intervals_for_the_same_times() -> None:
    rounds = rounds_of(np.random.RandomState(5), 6, 1.0, 0.02, 0.02)
    widths = [estimate_ratio(rounds, look, True).half_width for look in (1, 2, 3)]
    assert widths == sorted(widths) and widths[0] < widths[2]


def test_one_compilation_is_judged_by_its_blocks() -> None:
    rng = np.random.RandomState(6)
    one = rounds_of(rng, 1, 0.5, 0.0, 0.02)
    estimate = estimate_ratio(one, 1, False)
    assert estimate.low < 0.5 < estimate.high
    with pytest.raises(ValueError, match="two samples"):
        estimate_ratio(one, 1, True)


def test_a_fifth_of_the_blocks_may_be_disturbed_and_nothing_moves() -> None:
    # Five blocks; another program doubles the candidate in one and the baseline in another: the
    # highest and the lowest fifth. The other three say 0.6, 0.7 and 0.8, whose geometric mean is
    # (0.6 * 0.7 * 0.8) ** (1 / 3) = 0.6952.
    candidate = np.repeat(np.array([0.6, 0.7, 0.8, 1.4, 0.7])[:, None], 3, axis=1)
    base = np.repeat(np.array([1.0, 1.0, 1.0, 1.0, 2.0])[:, None], 3, axis=1)
    round_ = {CANDIDATE: candidate, BASELINE: base, AGAIN: base}
    assert estimate_ratio([round_] * 5, 1, True).ratio == pytest.approx(0.6952, abs=1e-4)


def test_what_slows_the_host_for_a_whole_block_cancels() -> None:
    slow = np.repeat(np.array([1.0, 3.0, 1.0, 2.0])[:, None], 5, axis=1)
    round_ = {CANDIDATE: 0.5 * slow, BASELINE: slow, AGAIN: slow}
    estimate = estimate_ratio([round_] * 5, 1, True)
    assert (estimate.low, estimate.ratio, estimate.high) == pytest.approx((0.5, 0.5, 0.5))
