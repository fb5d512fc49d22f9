"""Models of one metric: what they expect of layers and of trials that still run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize  # type: ignore[import-untyped]  # scipy has no types

from stillhouse_optimizer.additive import Terms, fit_additive
from stillhouse_optimizer.surrogate import fit

Array = NDArray[np.float64]

N_LAYERS, N_OTHERS = 8, 3
GROUPS = [np.array([k]) for k in range(N_LAYERS + N_OTHERS)]
PLAIN = Terms(GROUPS, [False] * len(GROUPS))
LAYERED = Terms(GROUPS, [False] * len(GROUPS), layers=range(N_LAYERS))


def removed(n: int, seed: int) -> Array:
    return np.random.default_rng(seed).random((n, N_LAYERS + N_OTHERS))


def error(terms: Terms, y_of: object, n: int) -> float:
    """Share of the variance of new points that a fit to n points leaves unexplained."""
    assert callable(y_of)
    x, at = removed(n, 1), removed(400, 2)
    mean, _ = fit_additive(terms, x, y_of(x)).predict(at)
    return float(((mean - y_of(at)) ** 2).mean() / y_of(at).var())


def test_a_few_trials_tell_what_layers_have_in_common() -> None:
    def y_of(x: Array) -> Array:
        return np.asarray(x[:, :N_LAYERS].sum(axis=1))

    assert error(LAYERED, y_of, 8) < 0.5 * error(PLAIN, y_of, 8)


def test_a_search_for_settings_that_leaps_too_far_is_led_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of 5,000 fits once leapt to a noise of e to the 1216th, and the study stood still."""

    def leap(loss: Callable[[Array], tuple[float, Array]], prior: Array, **options: object) -> Any:
        for step in (-1e5, 1e5):
            far, slope = loss(prior + step)
            assert np.isfinite(far)
            assert far > loss(prior)[0]
            assert (np.sign(slope) == np.sign(step)).all()
        return minimize(loss, prior, **options)

    monkeypatch.setattr("stillhouse_optimizer.additive.minimize", leap)
    x = removed(18, 1)
    fit_additive(LAYERED, x, x.sum(axis=1))


def test_a_training_that_scales_every_loss_is_learned() -> None:
    def y_of(x: Array) -> Array:
        return np.asarray(x[:, :N_LAYERS].sum(axis=1) * (0.2 + 2 * x[:, N_LAYERS]))

    assert error(LAYERED, y_of, 60) < 0.02
    assert error(PLAIN, y_of, 60) > 0.05  # a product does not add up


@pytest.mark.parametrize("name", ["forest", "gp", "forest_plain"])
def test_a_running_trial_makes_its_surroundings_more_certain(name: str) -> None:
    x, running = removed(30, 3), removed(5, 4)
    y = x.sum(axis=1) + 0.05 * np.random.default_rng(5).normal(size=30)
    model = fit(name, PLAIN, x, y, 0)
    believing = model.believing(running)
    mean, variance = model.predict(running)
    mean_after, variance_after = believing.predict(running)
    assert variance_after.mean() < variance.mean()
    if name != "forest_plain":  # grown anew, its trees differ
        np.testing.assert_allclose(mean_after, mean, rtol=1e-9)
        assert (variance_after < variance).all()


def test_terms_are_those_of_the_inputs_asked_for_whatever_was_asked_before() -> None:
    one, other = removed(5, 9), removed(7, 10)
    terms = Terms(GROUPS, [False] * len(GROUPS), layers=range(N_LAYERS))
    for x in (one, other, one, other[:5], one.copy()):
        fresh = Terms(GROUPS, [False] * len(GROUPS), layers=range(N_LAYERS)).of(x)
        np.testing.assert_array_equal(terms.of(x), fresh)


@pytest.mark.parametrize("layers, is_category", [((0,), False), ((0, 1), True), ((), False)])
def test_fewer_than_two_layers_have_nothing_in_common(
    layers: tuple[int, ...], is_category: bool
) -> None:
    kinds = [is_category] * 2 + [False] * (len(GROUPS) - 2)
    x = removed(5, 9)
    expected = Terms(GROUPS, kinds).of(x)
    np.testing.assert_array_equal(Terms(GROUPS, kinds, layers=layers).of(x), expected)
