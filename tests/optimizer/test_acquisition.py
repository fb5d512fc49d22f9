import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from smac.acquisition.function.expected_improvement import EI

from stillhouse_optimizer.acquisition import log_ei, log_probability_below


class Fixed:
    """A model that predicts what it is asked about: column 0 the mean, column 1 the sd."""

    def predict_marginalized(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        return x[:, :1], x[:, 1:] ** 2


def test_its_exponential_is_smac_s_expected_improvement() -> None:
    rng = np.random.default_rng(0)
    mean, sd = rng.normal(size=200), rng.uniform(0.3, 2.0, size=200)
    smac = EI()
    smac.update(model=Fixed(), eta=0.4)  # type: ignore[arg-type]  # all that EI calls
    wanted = smac._compute(np.stack([mean, sd], axis=1))[:, 0]
    assert np.exp(log_ei(mean, sd, 0.4)) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("z", [-20.0, -900.0, -2e4, -1e6])
def test_far_away_it_follows_the_asymptotic_series(z: float) -> None:
    # phi(z) + z Phi(z) = phi(z) / z^2 (1 - 3 / z^2 + 15 / z^4 - ...)
    series = 1 - 3 / z**2 + 15 / z**4 - 105 / z**6 + 945 / z**8
    wanted = -0.5 * z * z - 0.5 * math.log(2 * math.pi) - 2 * math.log(-z) + math.log(series)
    tolerance = 1e-6 * abs(wanted) ** 0.5
    assert log_ei(np.array([-z]), np.array([1.0]), 0.0)[0] == pytest.approx(wanted, abs=tolerance)


def test_it_is_finite_and_rising_everywhere() -> None:
    z = np.concatenate([-np.logspace(7, -3, 400), np.logspace(-3, 3, 100)])
    value = log_ei(-z, np.ones_like(z), 0.0)
    assert np.isfinite(value).all()
    assert (np.diff(value) > 0).all()


def test_half_of_a_normal_lies_below_its_mean() -> None:
    value = log_probability_below(np.array([1.0, 1.0]), np.array([2.0, 1.0]), 1.0)
    assert value == pytest.approx([math.log(0.5)] * 2)
