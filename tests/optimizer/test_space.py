import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ConfigSpace import Configuration
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse_optimizer import Problem, ProblemError
from stillhouse_optimizer.encoding import encode_all
from stillhouse_optimizer.lattice import NO_LATTICE
from stillhouse_optimizer.maximizer import _MUTATED, _Mutation, search
from stillhouse_optimizer.space import Space
from stillhouse_optimizer.translate import LegalityCheck, in_configspace, to_configspace


def test_sampled_configs_are_legal_to_configspace_and_survive_the_way_back(
    mixed_problem: Callable[..., Problem],
) -> None:
    problem = mixed_problem()
    space, check = Space(problem), LegalityCheck(problem)
    for row in space.sample(500, np.random.default_rng(0)):
        config = space.decode(row)
        check(config)
        assert np.allclose(space.encode(config), row, atol=1e-12, equal_nan=True)
        again = space.decode(space.encode(config))
        assert again.keys() == config.keys()
        for name, value in config.items():
            is_near = isinstance(value, float)
            assert again[name] == (pytest.approx(value, rel=1e-12) if is_near else value)


def test_a_mutation_changes_as_many_active_values_as_it_drew(
    mixed_problem: Callable[..., Problem],
) -> None:
    space = Space(mixed_problem())
    rows = space.sample(400, np.random.default_rng(2))
    changed = _Mutation(space, NO_LATTICE, ())._choose(rows, np.random.default_rng(3))
    assert not (changed & np.isnan(rows)).any()
    n_active, n_changed = (~np.isnan(rows)).sum(axis=1), changed.sum(axis=1)
    assert (n_changed <= _MUTATED.max()).all()
    fewer = n_changed < n_active
    assert set(n_changed[fewer].tolist()) == set(_MUTATED.tolist())
    # Each number is drawn as often, but that 6 changes at most what is active.
    share = np.bincount(n_changed[n_active >= 6], minlength=7)[_MUTATED] / (n_active >= 6).sum()
    np.testing.assert_allclose(share, 0.25, atol=0.08)


def test_configs_that_configspace_draws_are_legal_here(
    mixed_problem: Callable[..., Problem],
) -> None:
    problem = mixed_problem()
    space, other = Space(problem), to_configspace(problem)
    other.seed(0)
    countable = {p.name: p for p in problem.parameters if not p.is_continuous}
    stepped = {p.name for p in countable.values() if p.is_listed or p.step is not None}
    for drawn in other.sample_configuration(300):
        values = dict(drawn)
        config = {
            name: countable[name].value_at(int(value)) if name in stepped else value
            for name, value in values.items()
        }
        assert space.is_legal(space.encode(config)[None, :])[0]


def test_values_come_back_as_plain_python_scalars(mixed_problem: Callable[..., Problem]) -> None:
    space = Space(mixed_problem())
    kinds = {"sparsity": {float}, "lr": {float}, "epochs": {int}, "level": {float}, "rows": {int}}
    kinds |= {"method": {str, bool, type(None)}, "size": {int}, "deep": {float}}
    seen: dict[str, set[type]] = {name: set() for name in kinds}
    for row in space.sample(300, np.random.default_rng(1)):
        for name, value in space.decode(row).items():
            seen[name].add(type(value))
    assert seen == kinds


def test_a_child_of_an_inactive_parent_is_absent(mixed_problem: Callable[..., Problem]) -> None:
    space = Space(mixed_problem())
    for row in space.sample(300, np.random.default_rng(2)):
        config = space.decode(row)
        assert ("rows" in config) == (config["method"] in ("rows", None))
        assert ("deep" in config) == (config["method"] is None and config["rows"] in range(4, 30))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nothing": 1}, "config.nothing: no such parameter"),
        ({"sparsity": 0.95}, "config.sparsity: 0.95 is outside its range"),
        ({"epochs": 2.5}, "config.epochs: 2.5 is outside its range"),
        ({"rows": 8}, "config.rows: given, but inactive"),
        ({"method": "rows", "size": 8}, "config.rows: missing"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_by_name(
    mixed_problem: Callable[..., Problem], change: dict[str, Any], message: str
) -> None:
    space = Space(mixed_problem())
    config = space.decode(space.default()[0]) | change
    with pytest.raises(ProblemError, match=message):
        space.encode(config)


def test_a_finite_space_is_listed_whole() -> None:
    problem = Problem.from_mapping(
        {
            "parameters": [
                {"name": "a", "kind": "choice", "choices": ["x", "y"]},
                {
                    "name": "b",
                    "kind": "int",
                    "low": 1,
                    "high": 3,
                    "condition": [{"parent": "a", "values": ["y"]}],
                },
                {"name": "c", "kind": "choice", "choices": [True, False]},
            ],
            "forbidden": [{"b": [2], "c": [True]}],
        }
    )
    space = Space(problem)
    # x with 2 values of c, y with 3 x 2 minus the forbidden one.
    assert space.listed is not None
    configs = [tuple(space.decode(row).items()) for row in space.listed]
    assert len(configs) == len(set(configs)) == 7


def test_contradictory_clauses_are_told() -> None:
    with pytest.raises(ProblemError, match="forbidden: the clauses contradict each other"):
        Space(
            Problem.from_mapping(
                {
                    "parameters": [
                        {"name": "a", "kind": "choice", "choices": [1, 2]},
                        {"name": "x", "kind": "float", "low": 0, "high": 1},
                    ],
                    "forbidden": [{"a": [1]}, {"a": [2]}],
                }
            )
        )


def test_conditions_in_a_circle_are_told() -> None:
    def child(name: str, parent: str) -> dict[str, Any]:
        condition = [{"parent": parent, "values": [1]}]
        return {"name": name, "kind": "choice", "choices": [1, 2], "condition": condition}

    with pytest.raises(ProblemError, match="circle among a, b"):
        Space(Problem.from_mapping({"parameters": [child("a", "b"), child("b", "a")]}))


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_row_of_a_search_is_legal_in_any_space(
    problems: st.SearchStrategy[dict[str, Any]], data: st.DataObject
) -> None:
    try:
        problem = Problem.from_mapping(data.draw(problems))
        space = Space(problem)
    except ProblemError:
        return
    rng = np.random.default_rng(0)
    rows, scores = search(
        space, lambda r: -np.nansum(r**2, axis=1), space.default(), rng, NO_LATTICE
    )
    assert (np.diff(scores) <= 0).all()
    other = to_configspace(problem)
    for row in rows[:: max(1, len(rows) // 25)]:
        Configuration(other, values=in_configspace(problem, space.decode(row)))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_many_configs_are_read_as_one_by_one(
    problems: st.SearchStrategy[dict[str, Any]], data: st.DataObject
) -> None:
    try:
        space = Space(Problem.from_mapping(data.draw(problems)))
    except ProblemError:
        return
    configs: list[dict[str, Any]] = [
        dict(space.decode(row)) for row in space.sample(5, np.random.default_rng(0))
    ]
    junk: st.SearchStrategy[Any] = st.sampled_from(
        [1, 1.0, True, None, "a", math.nan, math.inf, -1, 10**40, [1], {}]
    )
    for config in configs:
        for name in data.draw(st.lists(st.sampled_from([*space.names, "alien"]), max_size=2)):
            if data.draw(st.booleans()):
                config[name] = data.draw(junk)
            else:
                config.pop(name, None)
    rows, fits = encode_all(space, configs)
    for config, row, fit in zip(configs, rows, fits, strict=True):
        try:
            expected = space.encode(config)
        except ProblemError:
            assert not fit
        else:
            assert fit
            np.testing.assert_allclose(row, expected, atol=1e-12)
