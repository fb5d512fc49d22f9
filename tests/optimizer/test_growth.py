"""What more training makes of an accuracy: a line through those that were trained further."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_optimizer.growth import Growth

drops = st.floats(-0.5, 1.0, allow_nan=False)


def test_before_anybody_went_on_half_of_what_is_lacking_still_is() -> None:
    growth = Growth([[0.0, 0.04]], [[]], is_maximised=False)
    assert growth.at_top(0.0, 0)[0] == pytest.approx(0.0)
    assert growth.at_top(0.04, 0)[0] == pytest.approx(0.02)
    # The same of an accuracy, which is to rise towards the best.
    growth = Growth([[0.98, 0.94]], [[]], is_maximised=True)
    assert growth.at_top(0.94, 0)[0] == pytest.approx(0.96)


def test_it_is_least_squares_where_many_went_on() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0.0, 0.8, 20_000)
    y = 0.03 + 0.1 * x + rng.normal(0.0, 0.01, 20_000)
    growth = Growth([x.tolist()], [list(zip(x.tolist(), y.tolist(), strict=True))], False)
    slope, offset = np.polyfit(x, y, 1)  # a second method
    for value in (0.1, 0.5):
        mean, sd = growth.at_top(value, 0)
        assert mean == pytest.approx(offset + slope * value, abs=1e-3)
        assert sd == pytest.approx(0.01, rel=0.1)  # the noise that was put in


def test_what_is_unsure_of_one_step_is_carried_through_the_next() -> None:
    exact = [(v, v) for v in np.linspace(0.0, 0.5, 200).tolist()]
    noisy = [(v, v + (0.04 if i % 2 else -0.04)) for i, (v, _) in enumerate(exact)]
    here = [v for v, _ in exact]
    sure = Growth([here], [exact], False).at_top(0.2, 0)[1]
    one = Growth([here], [noisy], False).at_top(0.2, 0)[1]
    both = Growth([here, here], [noisy, noisy], False).at_top(0.2, 0)[1]
    assert sure < 0.02 < one
    assert one == pytest.approx(0.04, rel=0.2)
    assert both == pytest.approx(0.04 * math.sqrt(2.0), rel=0.2)


@given(
    st.lists(drops, max_size=20),
    st.lists(st.tuples(drops, drops), max_size=20),
    drops,
    st.booleans(),
)
def test_any_values_give_a_finite_prediction(
    here: list[float], step: list[tuple[float, float]], value: float, is_maximised: bool
) -> None:
    mean, sd = Growth([here], [step], is_maximised).at_top(value, 0)
    assert math.isfinite(mean) and math.isfinite(sd) and sd > 0
