import numpy as np
import pytest

from stillhouse_optimizer.additive import Terms, fit_additive
from stillhouse_optimizer.joint import aligned, fit_joint

N_INPUTS = 6
TERMS = Terms([np.array([k]) for k in range(N_INPUTS)], [False] * N_INPUTS)
SLOPES = np.array([2.0, -1.5, 1.0, 0.8, -0.6, 0.4])


def _drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random((n, N_INPUTS))
    return x, x @ SLOPES + rng.normal(0, 0.01, n)


def test_what_a_source_measured_is_known_here() -> None:
    here, (at, truth) = _drawn(5, 1), _drawn(200, 2)
    joint = fit_joint(TERMS, _drawn(60, 0), here)
    wrong = np.abs(joint.predict(at)[0] - truth).mean()
    assert wrong < 0.1
    assert wrong < 0.2 * np.abs(fit_additive(TERMS, *here).predict(at)[0] - truth).mean()


def test_what_is_different_here_is_learned_from_few_trials() -> None:
    other = SLOPES.copy()
    other[0] += 0.7
    x, _ = _drawn(12, 1)
    at, _ = _drawn(200, 2)
    joint = fit_joint(TERMS, _drawn(60, 0), (x, x @ other))
    of_source = fit_additive(TERMS, *_drawn(60, 0))
    truth = at @ other
    wrong, before = (float(np.std(m.predict(at)[0] - truth)) for m in (joint, of_source))
    assert wrong < 0.5 * before
    # Sure of itself as far as it is right: errors are of the size that it expects.
    mean, variance = joint.predict(at)
    assert float(np.mean((mean - truth) ** 2 / variance)) < 3.0


def test_what_a_source_never_tried_stays_unknown() -> None:
    there, here = _drawn(60, 0), _drawn(4, 1)
    without = there[0].copy()
    without[:, 0] = 0.5
    never = there[1] - SLOPES[0] * (there[0][:, 0] - 0.5)
    step = np.full((1, N_INPUTS), 0.5)
    step[0, 0] = 1.0
    known = fit_joint(TERMS, there, here).predict(step)[1][0]
    unknown = fit_joint(TERMS, (without, never), here).predict(step)[1][0]
    assert unknown > 2 * known


def test_running_trials_make_it_surer_and_none_change_nothing() -> None:
    joint = fit_joint(TERMS, _drawn(60, 0), _drawn(5, 1))
    at, _ = _drawn(20, 2)
    mean, variance = joint.predict(at)
    same = joint.believing(at[:0]).predict(at)
    assert same[0] == pytest.approx(mean)
    assert same[1] == pytest.approx(variance, rel=1e-4)
    surer = joint.believing(at[:1]).predict(at)
    assert surer[0] == pytest.approx(mean)
    assert (surer[1] < variance * (1 + 1e-4)).all() and surer[1][0] < variance[0]


def test_offset_and_unit_are_taken_from_this_study() -> None:
    there = np.array([1.0, 2.0, 3.0, 4.0])
    told = np.array([1.0, 2.0, 4.0])
    # Twice as steep is an effect; a hundred times is per cent instead of a share.
    assert aligned(there, told, told + 5.0) == pytest.approx(there + 5.0)
    assert aligned(there, told, 2 * told).tolist() == pytest.approx((there + 7 / 3).tolist())
    assert aligned(there, told, 100 * told) == pytest.approx(100 * there)
    # What says nothing, or the opposite, is no unit.
    assert aligned(there, np.ones(3), told) == pytest.approx(there + 4 / 3)
    assert aligned(there, told, -told) == pytest.approx(there - 14 / 3)
