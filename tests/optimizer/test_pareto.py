import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse_optimizer.acquisition import log_ehvi, log_ei, log_ei_of_log
from stillhouse_optimizer.pareto import free_boxes, hypervolume, is_dominated, spread

# Few values, so that coordinates tie.
COORDINATE = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@st.composite
def point_sets(draw: st.DrawFn) -> np.ndarray:
    m = draw(st.integers(1, 3))
    rows = draw(st.lists(st.tuples(*[COORDINATE] * m), min_size=0, max_size=8))
    return np.array(rows, dtype=float).reshape(-1, m)


def _cells(m: int) -> np.ndarray:
    """Middles of the cells of a grid on which every coordinate above lies."""
    axis = np.array([0.125, 0.375, 0.625, 0.875])
    return np.stack(np.meshgrid(*[axis] * m), axis=-1).reshape(-1, m)


@settings(max_examples=150, deadline=None)
@given(point_sets())
def test_boxes_cover_exactly_what_nothing_dominates_and_once(points: np.ndarray) -> None:
    m = points.shape[1]
    reference = np.ones(m)
    low, high = free_boxes(points, reference)
    cells = _cells(m)
    inside = points[(points < reference).all(axis=1)]
    dominated = np.array([bool((inside <= cell).all(axis=1).any()) for cell in cells])
    n_boxes = ((cells[:, None] > low[None]) & (cells[:, None] < high[None])).all(axis=2).sum(axis=1)
    assert n_boxes.tolist() == (~dominated).astype(int).tolist()
    # Cells are all alike, so the volume is their share.
    assert hypervolume(points, reference) == pytest.approx(dominated.mean(), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(point_sets())
def test_dominated_means_that_some_point_is_no_worse_and_once_better(points: np.ndarray) -> None:
    wanted = [
        any((other <= one).all() and (other < one).any() for other in points) for one in points
    ]
    assert is_dominated(points).tolist() == wanted


def test_a_volume_by_hand() -> None:
    # 0.8 x 0.2 at the right, 0.5 x 0.6 at the left, 0.5 x 0.2 of both.
    points = np.array([[0.2, 0.8], [0.5, 0.4], [0.6, 0.5], [1.2, 0.0]])
    assert hypervolume(points, np.array([1.0, 1.0])) == pytest.approx(0.8 * 0.2 + 0.5 * 0.4)


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize("m", [2, 3])
def test_expected_hypervolume_improvement_is_the_mean_over_draws(m: int, is_log: bool) -> None:
    rng = np.random.default_rng(m)
    front, reference = rng.uniform(-0.5, 0.4, (5, m)), np.full(m, 0.5)
    mean, sd = rng.uniform(-0.2, 0.3, m), rng.uniform(0.1, 0.3, m)
    drawn = mean + sd * rng.normal(size=(4000, m))
    counts = np.zeros(m, dtype=bool)
    counts[0] = is_log

    def raw(values: np.ndarray) -> np.ndarray:
        return np.where(counts, np.exp(values), values)

    before = hypervolume(raw(front), raw(reference))
    added = [
        hypervolume(np.concatenate([raw(front), raw(one)[None]]), raw(reference)) - before
        for one in drawn
    ]
    low, high = free_boxes(front, reference)
    told = log_ehvi(
        [mean[k : k + 1] for k in range(m)],
        [sd[k : k + 1] for k in range(m)],
        counts.tolist(),
        low,
        high,
    )
    error = np.std(added) / np.sqrt(len(added))
    assert np.exp(told[0]) == pytest.approx(np.mean(added), abs=4 * error)


def test_of_one_objective_it_is_expected_improvement() -> None:
    mean, sd = np.array([0.1, 3.0, 40.0]), np.array([0.2, 0.1, 0.1])
    low, high = free_boxes(np.array([[0.3]]), np.array([1.0]))
    assert log_ehvi([mean], [sd], [False], low, high) == pytest.approx(log_ei(mean, sd, 0.3))


def test_far_away_improvement_of_a_logarithm_stays_finite_and_falls() -> None:
    mean = np.linspace(-2.0, 60.0, 200)
    told = log_ei_of_log(mean, np.full(200, 0.05), 0.0)
    assert np.isfinite(told).all()
    assert (np.diff(told) < 0).all()
    # Certain of exp(-2): the gain below 1 is 1 - exp(-2 + 0.05^2 / 2).
    assert np.exp(told[0]) == pytest.approx(1 - np.exp(-2 + 0.00125))


def test_starts_along_a_front_hold_its_ends() -> None:
    points = np.stack([np.arange(50.0), -np.arange(50.0)], axis=1)[::-1]
    chosen = points[spread(points, 5)]
    assert len(chosen) == 5
    assert chosen[[0, -1], 0].tolist() == [0.0, 49.0]
