"""How much each of several models counts, by how well it ranks trials it has not seen.

Depends on: numpy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_N_SAMPLES = 200
# Fewer trials rank nothing: every model counts alike.
FEWEST_RANKED = 5
# A model is dropped when its usual loss is above nearly all of the study's own model's.
_WORST = 0.95


def rank_weights(predicted: Sequence[Array], y: Array, rng: np.random.Generator) -> Array:
    """Weigh models by how seldom they put two trials in the wrong order.

    Trials are drawn with replacement, again and again; a model's weight is the share of draws in
    which it makes the fewest mistakes.

    Args:
        predicted: What each model predicts of every trial, (n,); the first is the study's own
            model, which must not have seen the trial that it predicts.
        y: What was measured, (n,).
        rng: Source of the draws.

    Returns:
        Weights (n_models,) that add to 1; exactly 0 for a model that is dropped because it ranks
        worse than the study's own. Ties count for the own model.

    Source: Feurer, Letham, Hutter & Bakshy 2018, "Practical Transfer Learning for Bayesian
    Optimization" (RGPE), sections 4.1 and 4.3; trials instead of function values are drawn.
    """
    n_models, n = len(predicted), len(y)
    if n < FEWEST_RANKED:
        return np.full(n_models, 1.0 / n_models)
    is_below = y[:, None] < y[None, :]
    wrong = np.stack([((p[:, None] < p[None, :]) != is_below) for p in predicted]).astype(float)
    drawn = rng.multinomial(n, np.full(n, 1.0 / n), size=_N_SAMPLES).astype(float)
    loss = np.einsum("si,mij,sj->ms", drawn, wrong, drawn, optimize=True)
    dropped = np.median(loss, axis=1) > np.quantile(loss[0], _WORST)
    dropped[0] = False
    loss[dropped] = np.inf
    best = loss.argmin(axis=0)  # the first of equals
    return np.bincount(best, minlength=n_models) / _N_SAMPLES
