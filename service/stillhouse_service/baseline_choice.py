"""The baseline that somebody asks for: found on the server, or trained there.

Depends on: the client; how errors name what is near.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stillhouse import Baseline, Client
from stillhouse_compression.errors import nearest
from stillhouse_service.errors import Problem, SpecRejected


def choose_baseline(
    client: Client,
    wanted: Mapping[str, Any],
    on_change: Callable[[Baseline], None] = lambda _: None,
) -> Baseline:
    """Give a complete baseline of this model, data set, recipe and seed.

    One that is there is taken, one that is on its way is waited for; else it is trained.

    Args:
        client: The server.
        wanted: `{model, dataset, recipe, seed}`; the last two may be left out.
        on_change: Told of each change while it trains.

    Raises:
        ProblemError: The server refuses it.
        SpecRejected: Its training failed.
    """
    recipe = dict(wanted.get("recipe") or {})
    seed = int(wanted.get("seed", 0))
    model, dataset = str(wanted["model"]), str(wanted["dataset"])
    baseline = find_baseline(client, model, dataset, recipe, seed) or client.baselines.create(
        model, dataset, recipe, seed
    )
    if baseline.is_over:
        return baseline
    trained = client.baselines.wait(baseline.id, on_change=on_change)
    if trained.state != "complete":
        reason = trained.error or "no reason was given"
        raise SpecRejected([Problem("baseline", f"the training of {trained.id} failed: {reason}")])
    return trained


def complete_baseline(client: Client, named: str, dataset: str | None = None) -> Baseline:
    """Give a baseline whose training is complete.

    Args:
        client: The server.
        named: Its id, or a network's name: the newest complete one of it.
        dataset: The data set it must be of; none takes any.

    Raises:
        ProblemError: There is no baseline of this id.
        SpecRejected: It is not complete or of another data set; no complete one of the network.
    """
    if named.startswith("bsl_"):
        baseline = client.baselines.get(named)
        if baseline.state != "complete":
            why = f": {baseline.error}" if baseline.error else ""
            text = f"{named} is {baseline.state}{why}; wanted a complete baseline"
            raise SpecRejected([Problem("baseline", text)])
        if dataset not in (None, baseline.dataset):
            text = f"{named} is of {baseline.dataset}, not of {dataset}"
            raise SpecRejected([Problem("--dataset", text)])
        return baseline
    there = client.baselines.list()
    complete = [b for b in there if b.state == "complete" and dataset in (None, b.dataset)]
    found = next((b for b in complete if b.model == named), None)
    if found is None:
        of = f"{named!r}" + (f" on {dataset!r}" if dataset else "")
        near = nearest(named, [b.model for b in complete if b.model != named])
        pairs = {f"{b.model} on {b.dataset}": None for b in there if b.state == "complete"}
        have = f"it has: {', '.join(pairs)}" if pairs else "train one with `stillhouse train`"
        text = f"the server has no complete baseline of {of}{near}; {have}"
        raise SpecRejected([Problem("baseline", text)])
    return found


def find_baseline(
    client: Client, model: str, dataset: str, recipe: Mapping[str, Any], seed: int
) -> Baseline | None:
    """Give the newest that asks for the same and has not failed."""
    return next(
        (
            b
            for b in client.baselines.list()
            if (b.model, b.dataset, dict(b.recipe), b.seed) == (model, dataset, recipe, seed)
            and b.state != "failed"
        ),
        None,
    )
