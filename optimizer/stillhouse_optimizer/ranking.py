"""How well models rank trials, and how much each of several counts by that.

Depends on: numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_N_SAMPLES = 200
# Fewer trials rank nothing.
FEWEST_RANKED = 5
# A source takes part while it ranks better than the study's own model in at least this share of the
# draws: the burden of proof is its own, and a related one seldom falls below.
_LEAST_LIKELY = 0.5


def ranking_losses(predicted: Sequence[Array], y: Array, rng: np.random.Generator) -> Array:
    """How many pairs of trials each model puts in the wrong order, trials drawn again and again.

    Args:
        predicted: What each model predicts of every trial, (n,).
        y: What was measured, (n,).
        rng: Source of the draws, which are the same for every model.

    Returns:
        Shape (n_models, n_draws).

    Source: Feurer, Letham, Hutter & Bakshy 2018, "Practical Transfer Learning for Bayesian
    Optimization" (RGPE), section 4.1; trials instead of function values are drawn.
    """
    n = len(y)
    is_below = y[:, None] < y[None, :]
    wrong = np.stack([((p[:, None] < p[None, :]) != is_below) for p in predicted]).astype(float)
    drawn = rng.multinomial(n, np.full(n, 1.0 / n), size=_N_SAMPLES).astype(float)
    return np.asarray(np.einsum("si,mij,sj->ms", drawn, wrong, drawn, optimize=True))


def squared_losses(predicted: Sequence[Array], y: Array, rng: np.random.Generator) -> Array:
    """How far each model is off, squared and summed over trials that are drawn again and again.

    Args:
        predicted: What each model predicts of every trial, (n,), without having seen it.
        y: What was measured, (n,).
        rng: Source of the draws, which are the same for every model.

    Returns:
        Shape (n_models, n_draws).
    """
    n = len(y)
    drawn = rng.multinomial(n, np.full(n, 1.0 / n), size=_N_SAMPLES).astype(float)
    return np.asarray((np.stack(predicted) - y) ** 2 @ drawn.T)


def is_dropped(source: Array, own: Array) -> bool:
    """Whether a source in all likelihood ranks a study's trials worse than the study's own model.

    Args:
        source: Losses (n_draws,) of what the source by itself predicts.
        own: Losses (n_draws,) of the study's own model, which had not seen what it predicted, in
            the same draws.

    Source: Feurer et al. 2018, section 4.3, but draw by draw: which trials are drawn moves both
    losses alike, so that the two can be told apart from far fewer trials than a median of one from
    a quantile of the other.
    """
    better = np.mean(source < own) + 0.5 * np.mean(source == own)
    return bool(better < _LEAST_LIKELY)


def agreement(predicted: Array, y: Array) -> float | None:
    """Kendall's rank correlation (tau-b) of what was predicted (n,) and measured (n,), -1 to 1.

    None where either is the same for all.
    """
    one, other = (np.sign(values[:, None] - values[None, :]) for values in (predicted, y))
    n_ranked = math.sqrt(float((one**2).sum()) * float((other**2).sum()))
    return float((one * other).sum()) / n_ranked if n_ranked else None


def rank_weights(losses: Array) -> Array:
    """Each model's share of the draws in which it makes the fewest mistakes; they add to 1.

    Args:
        losses: Shape (n_models, n_draws); where several are best the first counts.
    """
    n_best = np.bincount(losses.argmin(axis=0), minlength=len(losses))
    return np.asarray(n_best / losses.shape[1])
