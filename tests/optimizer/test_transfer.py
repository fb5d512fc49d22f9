from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from stillhouse_optimizer import Observation, Problem, ProblemError, Source, propose
from stillhouse_optimizer.design import interleaved
from stillhouse_optimizer.ranking import agreement, is_dropped, rank_weights, ranking_losses
from stillhouse_optimizer.sources import best_rows, check_source, rows_of, shared
from stillhouse_optimizer.space import Space

NAMES = list("abcdefgh")


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


def _metrics(config: Mapping[str, Any]) -> dict[str, float]:
    """Layers of different worth and tenderness, each slower behind a wide one."""
    worth = np.array([9.0, 7.0, 5.0, 3.0, 2.0, 1.0, 0.5, 0.2])
    kept = 1.0 - np.array([config[n] for n in NAMES])
    before = np.concatenate([[1.0], kept[:-1]])
    return {
        "latency_ratio": 0.1 + 0.9 * float(worth @ (kept * before)) / float(worth.sum()),
        "top1_drop": float((worth[::-1] * (1 - kept) ** 2).sum()) / 60,
    }


def _drawn(n: int, seed: int) -> list[Observation]:
    rng = np.random.default_rng(seed)
    configs = [dict(zip(NAMES, rng.random(len(NAMES)).tolist(), strict=True)) for _ in range(n)]
    return [Observation(config, _metrics(config)) for config in configs]


def _told(trial: Observation) -> Mapping[str, float]:
    assert trial.metrics is not None
    return trial.metrics


@pytest.fixture(scope="module", name="related")
def related_fixture() -> Source:
    """Trials of the same networks on a device where all latencies are thrice as long."""
    scaled = [
        Observation(t.config, {**_told(t), "latency_ratio": 3 * _told(t)["latency_ratio"]})
        for t in _drawn(60, 7)
    ]
    return Source("related", _problem().parameters, scaled)


@pytest.fixture(scope="module", name="opposite")
def opposite_fixture(related: Source) -> Source:
    """The same configs measured as noise that says nothing of them."""
    rng = np.random.default_rng(5)
    order = rng.permutation(len(related.history)).tolist()
    shuffled = [
        Observation(t.config, related.history[k].metrics)
        for t, k in zip(related.history, order, strict=True)
    ]
    return Source("opposite", related.parameters, shuffled)


def test_a_related_source_counts_and_makes_the_model_better(related: Source) -> None:
    history = _drawn(10, 2)
    with_it = propose(_problem(), history, [], 1, sources=[related])[0]
    assert set(with_it.weights) == {"related"}
    assert with_it.weights["related"]["top1_drop"] > 0.5
    assert any(note.startswith("related counts") for note in with_it.notes)
    alone = propose(_problem(), history, [], 1)[0]
    assert alone.weights == {}
    # Each is wrong about what it proposes; ten trials of eight parameters are wrong by more.
    wrong = [
        abs(p.prediction["top1_drop"] - _metrics(p.config)["top1_drop"]) for p in (with_it, alone)
    ]
    assert wrong[0] < wrong[1]
    assert propose(_problem(), history, [], 1, sources=[related])[0] == with_it


def test_ranks_decide_who_is_dropped_and_who_counts() -> None:
    y = np.arange(20.0)
    own = y + np.random.default_rng(0).normal(0, 3, 20)
    losses = ranking_losses([own, y, -y, own], y, np.random.default_rng(1))
    assert losses[1].max() == 0.0
    # All pairs of different trials: 20 of one each would be 380 ordered ones.
    assert (losses[2] <= 380).all() and losses[2].mean() > 300
    assert not is_dropped(losses[1], losses[0])
    assert is_dropped(losses[2], losses[0])
    assert rank_weights(losses[:2]).tolist() == [0.0, 1.0]
    # What is as good as the study's own model decides nothing.
    assert rank_weights(losses[[0, 3]]).tolist() == [1.0, 0.0]


def test_losses_are_compared_draw_by_draw() -> None:
    # What a draw happens to hold moves both by far more than they differ.
    shared_part = np.random.default_rng(0).normal(300, 80, 200)
    own = shared_part + 0.0
    assert is_dropped(shared_part + 2.0, own)
    assert not is_dropped(shared_part - 2.0, own)
    assert not is_dropped(own, own)  # ties count half
    better_in = np.where(np.arange(200) < 99, -1.0, 1.0)
    assert is_dropped(shared_part + better_in, own)  # 99 of 200 are fewer than half
    better_in[:100] = -1.0
    assert not is_dropped(shared_part + better_in, own)


def test_rank_agreement_by_hand() -> None:
    y = np.array([1.0, 2.0, 3.0])
    assert agreement(np.array([10.0, 20.0, 30.0]), y) == 1.0
    assert agreement(-y, y) == -1.0
    # Of three pairs two stand right and one wrong.
    assert agreement(np.array([1.0, 3.0, 2.0]), y) == pytest.approx(1 / 3)
    # One pair is not told apart: 2 / sqrt(2 * 3).
    assert agreement(np.array([1.0, 1.0, 2.0]), y) == pytest.approx(2 / 6**0.5)
    assert agreement(np.ones(3), y) is None
    assert agreement(y, np.ones(3)) is None


def test_a_source_of_noise_counts_for_little_beside_one_that_knows(
    related: Source, opposite: Source
) -> None:
    proposal = propose(_problem(), _drawn(25, 2), [], 1, sources=[opposite, related])[0]
    noise, known = (proposal.weights[name]["latency_ratio"] for name in ("opposite", "related"))
    assert noise < 0.1 < known
    # Of 300 pairs a source of noise puts about as many right as wrong.
    assert abs(proposal.agreements["opposite"]["latency_ratio"]) < 0.4
    assert proposal.agreements["related"]["latency_ratio"] > 0.6
    assert set(proposal.agreements["related"]) == {"latency_ratio", "top1_drop"}


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
    with pytest.raises(ProblemError, match="there a, b, c, d, e, f, g, h, here z"):
        check_source(other, related)
    with pytest.raises(ProblemError, match="only 0 of its 60 trials"):
        check_source(_problem(objectives=["macs"]), related)
    assert check_source(_problem(), related) == tuple(NAMES)


def test_starts_keep_the_limits_of_this_study_and_differ(related: Source) -> None:
    problem = _problem(constraints=["top1_drop <= 0.14"])
    space = Space(problem)
    rows = best_rows(problem, space, [related], 3)
    assert len(np.unique(rows, axis=0)) == 3
    kept = [t for t in related.history if _told(t)["top1_drop"] <= 0.14]
    assert 5 < len(kept) < 50
    best = min(kept, key=lambda t: _told(t)["latency_ratio"])
    assert space.decode(rows[0]) == pytest.approx(dict(best.config))
    # The design keeps its length and its first row; a config that stands in it comes once.
    design = np.arange(8.0).reshape(4, 2)
    mixed = interleaved(design, np.array([[9.0, 9.0], design[1]]))
    assert mixed.tolist() == [[0, 1], [9, 9], [2, 3], [4, 5]]


def test_when_every_source_is_dropped_the_first_trials_are_made_up_for(
    related: Source, opposite: Source
) -> None:
    problem = _problem(n_initial=10)
    alone = [p.config for p in propose(problem, [], [], 4, n=10)]
    history = _drawn(8, 2)
    made_up = propose(problem, history, [], 4, sources=[opposite])[0]
    assert made_up.origin == "initial"
    assert made_up.config == alone[1]  # the first after the default
    assert made_up.weights == {"opposite": {"latency_ratio": 0.0, "top1_drop": 0.0}}
    assert any("without sources" in note for note in made_up.notes)
    # By every other proposal, and as many as the sources spared: 10 less 2 of its own.
    asked, origins = list(history), []
    for _ in range(17):
        (one,) = propose(problem, asked, [], 4, sources=[opposite])
        asked.append(Observation(one.config, _metrics(one.config)))
        origins.append(one.origin)
    assert origins == ["initial", "model"] * 8 + ["model"]
    assert [t.config for t in asked[8:24:2]] == alone[1:9]
    # A study that has tried much, or that a source is of use to, needs none.
    assert propose(problem, _drawn(30, 2), [], 4, sources=[opposite])[0].origin == "model"
    assert propose(problem, history, [], 4, sources=[related, opposite])[0].origin == "model"
