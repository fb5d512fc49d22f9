"""The baseline that a study file asks for: found on the server, or trained there.

Depends on: the client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stillhouse import Baseline, Client
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
    baseline = _find(client, model, dataset, recipe, seed) or client.baselines.create(
        model, dataset, recipe, seed
    )
    if baseline.is_over:
        return baseline
    trained = client.baselines.wait(baseline.id, on_change=on_change)
    if trained.state != "complete":
        reason = trained.error or "no reason was given"
        raise SpecRejected([Problem("baseline", f"the training of {trained.id} failed: {reason}")])
    return trained


def _find(
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
