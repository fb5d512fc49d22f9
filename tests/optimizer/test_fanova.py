import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeRegressor  # type: ignore[import-untyped]  # has no types

from stillhouse_optimizer.fanova import closed_variances, decompose
from stillhouse_optimizer.grove import expected, leaf_boxes

LEVELS = (3, 4, 2, 5)


def grown(seed: int) -> tuple[Any, NDArray[np.float64]]:
    """A tree over four countable parameters, and its prediction at every one of 120 configs."""
    rng = np.random.default_rng(seed)
    levels = np.array(list(itertools.product(*(range(k) for k in LEVELS))))
    places = (levels + 0.5) / np.array(LEVELS)
    # Some levels stay unseen, so that splits fall on odd places between levels.
    seen = rng.choice(len(places), size=40, replace=False)
    seen = seen[levels[seen, 3] != 2]
    tree = DecisionTreeRegressor(min_samples_leaf=2, random_state=seed)
    tree.fit(places[seen], rng.normal(size=len(seen)) + 3 * places[seen, 0] * places[seen, 1])
    return tree.tree_, tree.predict(places).reshape(LEVELS)


@pytest.mark.parametrize("seed", range(10))
def test_it_agrees_with_full_enumeration(seed: int) -> None:
    tree, table = grown(seed)
    part = decompose(leaf_boxes(tree, np.array(LEVELS)))
    assert part.total == pytest.approx(table.var(), abs=1e-6)
    axes = set(range(4))
    for i in range(4):
        marginal = table.mean(axis=tuple(axes - {i}))
        assert part.mains[i] == pytest.approx(marginal.var(), abs=1e-6)
        for j in range(i):
            joint = table.mean(axis=tuple(axes - {i, j}))
            wanted = joint.var() - marginal.var() - table.mean(axis=tuple(axes - {j})).var()
            assert part.pairs[i, j] == pytest.approx(wanted, abs=1e-6)
            assert part.pairs[j, i] == pytest.approx(part.pairs[i, j], abs=1e-12)


def test_a_continuous_split_weighs_by_length() -> None:
    # f = 1 below 0.25, else 0: mean 1/4, variance 3/16, all of it the first parameter's.
    x = np.stack([np.linspace(0.005, 0.995, 100), np.tile([0.2, 0.8], 50)], axis=1)
    tree = DecisionTreeRegressor().fit(x, (x[:, 0] < 0.25) * 1.0)
    part = decompose(leaf_boxes(tree.tree_, np.zeros(2, dtype=int)))
    assert part.total == pytest.approx(3 / 16, abs=1e-6)
    assert part.mains == pytest.approx([3 / 16, 0.0], abs=1e-6)
    assert part.marginals[0] == pytest.approx([1.0, 0.0])
    assert part.edges[0] == pytest.approx([0.0, 0.25, 1.0])


def test_a_pure_interaction_belongs_to_the_pair_alone() -> None:
    # (-1, 1) x (-1, 1): no main effect, variance 1.
    x = np.array([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]])
    tree = DecisionTreeRegressor(random_state=0).fit(
        np.repeat(x, 2, axis=0), [1, 1, -1, -1, -1, -1, 1, 1]
    )
    part = decompose(leaf_boxes(tree.tree_, np.array([2, 2])))
    assert part.mains == pytest.approx([0.0, 0.0], abs=1e-9)
    assert part.pairs[0, 1] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_what_a_group_explains_agrees_with_full_enumeration(seed: int) -> None:
    tree, table = grown(seed)
    groups = [[0], [0, 1], [1, 2, 3], [0, 1, 2, 3]]
    wanted = [table.mean(axis=tuple({0, 1, 2, 3} - set(group))).var() for group in groups]
    found = closed_variances(leaf_boxes(tree, np.array(LEVELS)), groups)
    assert found == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_an_expectation_averages_what_is_unknown(seed: int) -> None:
    tree, table = grown(seed)
    boxes = leaf_boxes(tree, np.array(LEVELS))
    levels = np.array([[2, 1, 0, 4], [2, 1, 1, 4], [0, 3, 1, 0], [2, 1, 0, 4]])
    at = (levels + 0.5) / np.array(LEVELS)
    at[3, [1, 2]] = np.nan
    wanted = [*(table[tuple(one)] for one in levels[:3]), table[2, :, :, 4].mean()]
    assert expected([boxes], at) == pytest.approx(wanted)
    # Whichever row comes first.
    assert expected([boxes], at[::-1])[::-1] == pytest.approx(wanted)
