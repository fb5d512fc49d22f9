"""Configs that come to the same: known ones that build the same network and train it alike."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stillhouse_optimizer.spec import Config, Problem
from stillhouse_optimizer.twins import twin_indices

PROBLEM = Problem.from_mapping(
    {
        "parameters": [
            {"name": "sparsity", "kind": "float", "low": 0.0, "high": 1.0},
            {"name": "lr", "kind": "float", "low": 1e-3, "high": 1e-1, "log": True},
        ]
    }
)


def _of_four_filters(columns: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"sparsity": np.floor(columns["sparsity"] * 4) / 4}


def test_equal_as_built_and_as_trained_is_a_twin() -> None:
    known = [{"sparsity": 0.3, "lr": 0.01}, {"sparsity": 0.8, "lr": 0.01}]
    asked = [
        {"sparsity": 0.4, "lr": 0.01},  # one of four filters, like the first
        {"sparsity": 0.4, "lr": 0.02},  # trained in another way
        {"sparsity": 0.55, "lr": 0.01},  # two of four
        {"sparsity": 0.8, "lr": 0.01},
    ]
    assert twin_indices(PROBLEM, known, asked, _of_four_filters) == [0, None, None, 1]
    assert twin_indices(PROBLEM, known, asked) == [None, None, None, 1]


def test_what_does_not_fit_the_space_is_nobodys_twin() -> None:
    default: Config = {"sparsity": 0.5, "lr": 0.01}
    known: list[Config] = [{"sparsity": 7.0, "lr": 0.01}, {"other": 1}, default]
    assert twin_indices(PROBLEM, known, [default, {"other": 1}]) == [2, None]
