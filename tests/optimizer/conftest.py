"""Problems, strategies and a deterministic trial for the optimizer's tests."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from stillhouse_optimizer import Observation, Problem, Proposal, propose


def mixed_problem(**changes: Any) -> Problem:
    """Every kind of parameter, conditions two deep and a forbidden clause."""
    return Problem.from_mapping(
        {
            "parameters": [
                {"name": "sparsity", "kind": "float", "low": 0.0, "high": 0.9, "default": 0.0},
                {"name": "lr", "kind": "float", "low": 1e-4, "high": 0.1, "log": True},
                {"name": "epochs", "kind": "int", "low": 1, "high": 8},
                {"name": "level", "kind": "float", "low": 0.1, "high": 0.7, "step": 0.1},
                {"name": "method", "kind": "choice", "choices": ["fine", "rows", None, True]},
                {"name": "size", "kind": "ordinal", "choices": [8, 16, 32]},
                {
                    "name": "rows",
                    "kind": "int",
                    "low": 4,
                    "high": 64,
                    "log": True,
                    "condition": [{"parent": "method", "values": ["rows", None]}],
                },
                {
                    "name": "deep",
                    "kind": "float",
                    "low": -1,
                    "high": 1,
                    "condition": [
                        {"parent": "rows", "values": list(range(4, 30))},
                        {"parent": "method", "values": [None]},
                    ],
                },
            ],
            "forbidden": [{"method": ["fine", True], "size": [32]}],
            "constraints": ["top1_drop <= 0.02"],
            "n_initial": 5,
            **changes,
        }
    )


def metrics_of(config: Mapping[str, Any]) -> dict[str, float]:
    """A trial without noise: more sparsity is faster and, convexly, less accurate."""
    sparsity = config["sparsity"]
    return {
        "latency_ratio": math.exp(-sparsity) * (1.1 if config["method"] == "fine" else 1.0),
        "top1_drop": 0.08 * sparsity**2 + 0.004 * (math.log10(config["lr"]) + 2) ** 2,
    }


def run(
    problem: Problem,
    n: int,
    seed: int = 3,
    evaluate: Callable[[Mapping[str, Any]], dict[str, float]] = metrics_of,
    history: Sequence[Observation] = (),
) -> tuple[list[Observation], list[Proposal]]:
    """Serial search until there are n trials."""
    trials, proposals = list(history), []
    while len(trials) < n:
        proposal = propose(problem, trials, [], seed)[0]
        proposals.append(proposal)
        trials.append(Observation(proposal.config, evaluate(proposal.config)))
    return trials, proposals


@pytest.fixture(name="mixed_problem")
def mixed_problem_fixture() -> Callable[..., Problem]:
    return mixed_problem


@pytest.fixture(name="metrics_of")
def metrics_of_fixture() -> Callable[[Mapping[str, Any]], dict[str, float]]:
    return metrics_of


@pytest.fixture(name="run")
def run_fixture() -> Callable[..., tuple[list[Observation], list[Proposal]]]:
    return run


def _parameter(draw: Any, k: int, earlier: list[dict[str, Any]]) -> dict[str, Any]:
    kind = draw(st.sampled_from(["float", "int", "choice", "ordinal"]))
    data: dict[str, Any] = {"name": f"p{k}", "kind": kind}
    if kind in ("choice", "ordinal"):
        values = [8, 0.5, "a", "b", True, False, None, "1", 1]
        data["choices"] = draw(
            st.lists(st.sampled_from(values), min_size=1, max_size=4, unique_by=repr)
        )
    elif kind == "int":
        low = draw(st.integers(1, 5))
        data |= {"low": low, "high": low + draw(st.integers(0, 30)), "log": draw(st.booleans())}
        data["step"] = draw(st.sampled_from([None, 1, 3]))
    else:
        least = draw(st.sampled_from([0.01, 0.3, 2.0]))
        data |= {"low": least, "high": least * draw(st.sampled_from([1.0, 1.7, 90.0]))}
        data["log"] = draw(st.booleans())
        data["step"] = draw(st.sampled_from([None, None, 0.1]))
    parents = [p for p in earlier if p["kind"] in ("choice", "ordinal")]
    if parents and draw(st.booleans()):
        parent = draw(st.sampled_from(parents))
        values = draw(st.lists(st.sampled_from(parent["choices"]), min_size=1, unique_by=repr))
        data["condition"] = [{"parent": parent["name"], "values": values}]
    return data


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """Problems as JSON, with conditions and forbidden clauses, some of them contradictory."""
    parameters: list[dict[str, Any]] = []
    for k in range(draw(st.integers(1, 6))):
        parameters.append(_parameter(draw, k, parameters))
    listed = [p for p in parameters if "choices" in p]
    forbidden = []
    for _ in range(draw(st.integers(0, 2 if listed else 0))):
        chosen = draw(st.lists(st.sampled_from(listed), min_size=1, max_size=2, unique_by=repr))
        forbidden.append(
            {
                p["name"]: draw(st.lists(st.sampled_from(p["choices"]), min_size=1, max_size=2))
                for p in chosen
            }
        )
    return {
        "parameters": parameters,
        "forbidden": forbidden,
        "constraints": [{"metric": "top1_drop", "op": "<=", "bound": 0.5}],
        "n_initial": 3,
        "surrogate": draw(st.sampled_from(["forest", "forest_plain", "gp", "auto"])),
    }


@pytest.fixture(name="problems", scope="session")
def problems_fixture() -> st.SearchStrategy[dict[str, Any]]:
    return problems()
