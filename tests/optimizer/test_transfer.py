import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from stillhouse_optimizer import Observation, Problem, ProblemError, Source, propose
from stillhouse_optimizer.design import interleaved
from stillhouse_optimizer.ranking import rank_weights
from stillhouse_optimizer.sources import best_rows, check_source, rows_of, shared
from stillhouse_optimizer.space import Space

NAMES = ["a", "b", "c", "d"]


def _problem(**changes: Any) -> Problem:
    parameters = [{"name": n, "kind": "float", "low": 0.0, "high": 1.0} for n in NAMES]
    return Problem.from_mapping(
        {
            "parameters": parameters,
            "objectives": ["latency_ratio"],
            "constraints": ["top1_drop <= 0.1"],
            "n_initial": 6,
            **changes,
        }
    )


def _metrics(config: Mapping[str, Any], tilt: float = 1.0) -> dict[str, float]:
    """Layers of different worth and tenderness; ``tilt`` -1 turns both round."""
    worth = np.array([4.0, 3.0, 2.0, 1.0])[:: int(tilt)]
    x = np.array([config[n] for n in NAMES])
    return {
        "latency_ratio": math.exp(-float(worth @ x) / 8),
        "top1_drop": float((worth[::-1] * x**2).sum()) / 30,
    }


def _searched(tilt: float, n: int, sources: list[Source], seed: int = 1) -> list[Observation]:
    trials: list[Observation] = []
    while len(trials) < n:
        config = propose(_problem(), trials, [], seed, sources=sources)[0].config
        trials.append(Observation(config, _metrics(config, tilt)))
    return trials


def _best(trials: list[Observation]) -> float:
    values = [t.metrics or {} for t in trials]
    return min(m["latency_ratio"] for m in values if m["top1_drop"] <= 0.1)


@pytest.fixture(scope="module", name="related")
def related_fixture() -> Source:
    """A search of the same kind, all latencies thrice as long."""
    trials = _searched(1.0, 14, [], seed=7)
    scaled = [
        Observation(t.config, {**t.metrics, "latency_ratio": 3 * t.metrics["latency_ratio"]})
        for t in trials
        if t.metrics
    ]
    return Source("related", _problem().parameters, scaled)


@pytest.fixture(scope="module", name="opposite")
def opposite_fixture(related: Source) -> Source:
    """The same configs, ranked the other way round."""
    turned = [
        Observation(
            t.config,
            {
                "latency_ratio": 1 / t.metrics["latency_ratio"],
                "top1_drop": 0.2 - t.metrics["top1_drop"],
            },
        )
        for t in related.history
        if t.metrics
    ]
    return Source("opposite", related.parameters, turned)


def test_a_related_source_counts_and_spares_trials(related: Source) -> None:
    with_it = _searched(1.0, 9, [related])
    assert _best(with_it) <= _best(_searched(1.0, 9, []))
    proposal = propose(_problem(), with_it, [], 1, sources=[related])[0]
    assert set(proposal.weights) == {"related"}
    assert proposal.weights["related"]["latency_ratio"] > 0.3
    assert any(note.startswith("related counts") for note in proposal.notes)
    again = propose(_problem(), with_it, [], 1, sources=[related])[0]
    assert again == proposal


def test_rank_weights_drop_what_ranks_worse_and_prefer_what_ranks_better() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(20.0)
    own = y + rng.normal(0, 3, 20)
    weights = rank_weights([own, y, -y], y, np.random.default_rng(1))
    assert weights.sum() == pytest.approx(1.0)
    assert weights[1] > 0.95
    assert weights[2] == 0.0
    # A source that is as good as the study's own model decides nothing.
    assert rank_weights([own, own], y, rng).tolist() == [1.0, 0.0]
    # Where too few trials rank anything all count alike.
    assert rank_weights([own[:3], y[:3]], y[:3], rng).tolist() == [0.5, 0.5]


def test_an_opposite_source_is_no_trouble(related: Source, opposite: Source) -> None:
    trials = _searched(1.0, 10, [opposite])
    proposal = propose(_problem(), trials, [], 1, sources=[related, opposite])[0]
    assert set(proposal.weights) == {"related", "opposite"}
    assert _best(trials) < 0.75


def test_running_trials_and_several_objectives_go_with_sources(related: Source) -> None:
    problem = _problem(objectives=["latency_ratio", "top1_drop"])
    history = [Observation(t.config, _metrics(t.config)) for t in related.history[:7]]
    at_once = propose(problem, history, [], 3, n=2, sources=[related])
    first = propose(problem, history, [], 3, sources=[related])[0]
    second = propose(problem, history, [first.config], 3, sources=[related])[0]
    assert [p.config for p in at_once] == [first.config, second.config]
    assert set(first.weights["related"]) == {"latency_ratio", "top1_drop"}


def test_other_spaces_are_read_by_name_kind_and_default() -> None:
    here = _problem(
        parameters=[
            {"name": "a", "kind": "float", "low": 0.0, "high": 0.5, "default": 0.1},
            {"name": "n", "kind": "int", "low": 1, "high": 9, "default": 3},
            {"name": "how", "kind": "choice", "choices": ["x", "y"]},
            {
                "name": "deep",
                "kind": "float",
                "low": 0.0,
                "high": 1.0,
                "default": 0.25,
                "condition": [{"parent": "how", "values": ["y"]}],
            },
            {"name": "d", "kind": "ordinal", "choices": [1, 2]},
        ]
    )
    there = _problem(
        parameters=[
            {"name": "a", "kind": "float", "low": 0.0, "high": 1.0},
            {"name": "how", "kind": "choice", "choices": ["y", "z"]},
            {"name": "d", "kind": "float", "low": 0.0, "high": 1.0},
            {"name": "e", "kind": "float", "low": 0.0, "high": 1.0},
        ]
    )
    assert shared(here.parameters, there.parameters) == ("a", "how")
    source = Source(
        "there",
        there.parameters,
        [
            Observation({"a": 0.25, "how": "y", "d": 0.5, "e": 0.1}, {}),
            Observation({"a": 0.75, "how": "y", "d": 0.5, "e": 0.1}, {}),  # beyond the range here
            Observation({"a": 0.5, "how": "z", "d": 0.5, "e": 0.1}, {}),  # no such choice here
        ],
    )
    space = Space(here)
    rows, kept = rows_of(space, source)
    assert kept == [0]
    assert space.decode(rows[0]) == {"a": 0.25, "n": 3, "how": "y", "deep": 0.25, "d": 1}


def test_a_source_without_overlap_or_trials_is_refused(related: Source) -> None:
    other = _problem(
        parameters=[{"name": "z", "kind": "float", "low": 0.0, "high": 1.0}], constraints=[]
    )
    with pytest.raises(ProblemError, match="there a, b, c, d, here z"):
        check_source(other, related)
    with pytest.raises(ProblemError, match="only 0 of its 14 trials"):
        check_source(_problem(objectives=["macs"]), related)
    assert check_source(_problem(), related) == ("a", "b", "c", "d")


def test_starts_keep_the_limits_of_this_study_and_differ(related: Source) -> None:
    problem = _problem(constraints=["top1_drop <= 0.05"])
    space = Space(problem)
    rows = best_rows(problem, space, [related], 3)
    assert len(np.unique(rows, axis=0)) == 3
    kept = [t for t in related.history if t.metrics and t.metrics["top1_drop"] <= 0.05]
    best = min(kept, key=lambda t: (t.metrics or {})["latency_ratio"])
    assert space.decode(rows[0]) == pytest.approx(dict(best.config))
    # The design keeps its length and its first row; a config that stands in it comes once.
    design = np.arange(8.0).reshape(4, 2)
    mixed = interleaved(design, np.array([[9.0, 9.0], design[1]]))
    assert mixed.tolist() == [[0, 1], [9, 9], [2, 3], [4, 5]]
