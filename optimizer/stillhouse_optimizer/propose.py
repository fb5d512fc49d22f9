"""The next configs to try: a pure function of the problem and its trials.

Depends on: numpy, threadpoolctl.

Same arguments, same answer: nothing is kept between calls, every random number comes from the seed
and the number of trials, and linear algebra runs on one thread.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # has no types

from stillhouse_optimizer.belief import Belief
from stillhouse_optimizer.design import initial_design, interleaved
from stillhouse_optimizer.errors import OptimizerError, SpaceExhausted
from stillhouse_optimizer.evidence import gather
from stillhouse_optimizer.inputs import CheapFeatures, Inputs
from stillhouse_optimizer.lattice import NO_LATTICE, find_lattice
from stillhouse_optimizer.maximizer import Scores, search
from stillhouse_optimizer.parameter import Config
from stillhouse_optimizer.prior import Prior
from stillhouse_optimizer.sources import Source, best_rows
from stillhouse_optimizer.space import Rows, Space
from stillhouse_optimizer.spec import Observation, Problem, Proposal
from stillhouse_optimizer.transfer import Transfer, described
from stillhouse_optimizer.translate import LegalityCheck
from stillhouse_optimizer.tried import Tried

# Fewer measured trials than this say nothing that a model could use.
_MIN_MEASURED = 3
_N_STARTS = 5
# With sources to learn from so many of the first trials are enough, and so many are needed.
_SHARE_OF_FIRST, _FEWEST_FIRST = 0.3, 3
# When all sources are dropped, the first trials that they spared are made up for by every other
# proposal; but not beyond so many times the first trials, when a study knows enough by itself.
_MADE_UP_WITHIN = 3
# The libraries that do linear algebra, loaded by the imports above; to look for them takes 5 ms.
_libraries = ThreadpoolController()
# Their limit is process-wide; two proposals at once would undo each other's.
_one_at_a_time = threading.Lock()


_MADE_UP = "one of the first trials of a study without sources, as none of them is of use"


def propose(
    problem: Problem,
    history: Sequence[Observation],
    pending: Sequence[Config],
    seed: int,
    n: int = 1,
    cheap_features: CheapFeatures | None = None,
    sources: Sequence[Source] = (),
) -> list[Proposal]:
    """Say which configs to try next.

    The first ``problem.n_initial`` trials follow a design; after that each proposal maximises
    expected improvement times the probability of meeting every limit and of not failing. Running
    trials count with the values the model expects of them. Never proposes what was tried or runs.

    Args:
        problem: What is searched.
        history: Finished trials, in the order of their numbers. Cancelled ones may be left out;
            stopped ones tell of what was measured of them.
        pending: Configs of running trials, in the order of their numbers.
        seed: The study's; with the number of trials it decides every random draw.
        n: How many to propose; proposing n equals proposing one n times with the earlier ones
            pending.
        cheap_features: What network a config builds (see inputs); without, models see configs as
            asked for.
        sources: Finished studies to learn from; their spaces may be others.

    Returns:
        n proposals; fewer when a finite space holds no more.

    Raises:
        ProblemError: the space makes no sense (conditions in a circle, contradictory clauses).
        SpaceExhausted: a finite space holds nothing new.

    Source: Gardner et al. 2014, "Bayesian Optimization with Inequality Constraints", section 3.2;
    Hutter et al. 2011 (SMAC); pending trials as in Ginsbourger et al. 2010 (kriging believer).
    """
    if n < 1:
        raise OptimizerError(f"n must be at least 1, got {n}")
    with _one_at_a_time, _libraries.limit(limits=1):
        space = Space(problem)
        inputs = Inputs(space, cheap_features)
        check = LegalityCheck(problem)
        proposals: list[Proposal] = []
        for _ in range(n):
            running = [*pending, *(p.config for p in proposals)]
            try:
                proposal = _propose_one(problem, space, inputs, history, running, seed, sources)
            except SpaceExhausted:
                if not proposals:
                    raise
                break
            check(proposal.config)
            proposals.append(proposal)
    return proposals


def _propose_one(
    problem: Problem,
    space: Space,
    inputs: Inputs,
    history: Sequence[Observation],
    pending: Sequence[Config],
    seed: int,
    sources: Sequence[Source],
) -> Proposal:
    number = len(history) + len(pending)
    n_alone = problem.n_initial
    if sources:  # the model knows something sooner
        n_enough = max(_FEWEST_FIRST, math.ceil(_SHARE_OF_FIRST * n_alone))
        problem = replace(problem, n_initial=min(n_alone, n_enough))
    rng = np.random.default_rng([seed, number])
    evidence = gather(problem, space, history, pending)
    seen = np.concatenate([evidence.rows, evidence.stopped, evidence.pending])
    tried = Tried(space, inputs, seen)
    if number < problem.n_initial:
        design = initial_design(space, problem.n_initial, seed, _has_ladder(problem))
        if sources:
            design = interleaved(design, best_rows(problem, space, sources, problem.n_initial // 2))
        # Rows of their own number first, so that trials that were left out shift nothing.
        row = tried.first_new(np.concatenate([design[number:], design[:number]]))
        if row is not None:
            return Proposal(space.decode(row), "initial", notes=evidence.notes)
    if int(evidence.is_measured.sum()) < _MIN_MEASURED:
        return Proposal(space.decode(tried.any_new(rng)), "random", notes=evidence.notes)

    transfer = Transfer(problem, space, inputs, sources) if sources else None
    try:
        belief = Belief(problem, inputs, evidence, int(rng.integers(2**31 - 1)), transfer)
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        # Trials that no model takes must not bring the search to a stand: the next one helps.
        note = f"drawn at random, as no model could be fitted: {type(error).__name__}: {error}"
        return Proposal(space.decode(tried.any_new(rng)), "random", notes=(*evidence.notes, note))
    is_young = number < _MADE_UP_WITHIN * n_alone and number % 2 == 0
    if transfer is not None and transfer.is_dropped and is_young:
        # Where only what misled has searched, a model is sure of itself and knows nothing else.
        n_spared = n_alone - problem.n_initial + problem.n_initial // 2
        spared = initial_design(space, n_alone, seed, _has_ladder(problem))[1 : 1 + n_spared]
        row = tried.first_new(spared)
        if row is not None:
            notes = (*evidence.notes, *described(transfer.weights), _MADE_UP)
            told = transfer.weights, transfer.agreements
            return Proposal(space.decode(row), "initial", {}, notes, *told)
    lattice = NO_LATTICE if space.listed is not None else find_lattice(space, inputs)
    starts = belief.starts(_N_STARTS)
    prior, n_modelled = Prior(space), max(number - problem.n_initial + 1, 1)

    def score(rows: Rows) -> Scores:
        value = belief.score(rows)
        return value + prior.log_weight(rows, n_modelled) if prior.is_given else value

    rows, _ = search(space, score, starts, rng, lattice, inputs.replaced)
    row = tried.first_new(rows)
    if row is None:
        row = tried.any_new(rng)
    told = (transfer.weights, transfer.agreements) if transfer is not None else ({}, {})
    notes = (*evidence.notes, *described(told[0]))
    return Proposal(space.decode(row), "model", belief.explain(row), notes, *told)


def _has_ladder(problem: Problem) -> bool:
    return problem.surrogate == "forest_plain"
