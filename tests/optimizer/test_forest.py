"""Our forest is SMAC's, grown without its overhead."""

from __future__ import annotations

import numpy as np
import pytest
from ConfigSpace import ConfigurationSpace, Float
from smac.model.random_forest.random_forest import RandomForest

from stillhouse_optimizer.forest import fit_forest


@pytest.mark.parametrize("n, most_samples", [(3, None), (40, None), (90, 32)])
def test_every_prediction_is_that_of_smacs_own_forest(n: int, most_samples: int | None) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.random((n, 7)), rng.normal(size=n)
    space = ConfigurationSpace()
    space.add([Float(f"x{i}", (0.0, 1.0)) for i in range(7)])
    smacs = RandomForest(
        space,
        n_trees=40,
        ratio_features=0.8,
        max_leaf_nodes=None,  # type: ignore[arg-type]  # scikit-learn's "no limit"
        max_samples=most_samples,
        n_jobs=1,
        seed=5,
    )
    smacs.train(x, ((y - y.mean()) / y.std())[:, None])
    at = rng.random((50, 7))
    mean, variance = smacs.predict(at)
    assert variance is not None
    ours = fit_forest(x, y, 5, most_samples, "best").predict(at)
    np.testing.assert_allclose(ours[0], y.mean() + y.std() * mean[:, 0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        ours[1], y.var() * np.maximum(variance[:, 0], 1e-6), rtol=1e-9, atol=1e-12
    )


def test_how_memory_holds_the_inputs_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((30, 4)), rng.normal(size=30)
    at = rng.random((20, 8))
    forest = fit_forest(x, y, 1)
    plain = forest.predict(at[::2, ::2].copy())
    for held in (at[::2, ::2], np.asfortranarray(at[::2, ::2])):
        for told, wanted in zip(forest.predict(held), plain, strict=True):
            np.testing.assert_array_equal(told, wanted)
