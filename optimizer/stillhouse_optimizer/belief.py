"""What the models believe of every metric, and what a config promises.

Depends on: numpy.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.acquisition import log_probability_below
from stillhouse_optimizer.additive import Terms
from stillhouse_optimizer.evidence import Evidence, Target
from stillhouse_optimizer.forest import Model
from stillhouse_optimizer.gain import FrontGain, Gain, Improvement
from stillhouse_optimizer.inputs import Inputs
from stillhouse_optimizer.pareto import is_dominated, spread
from stillhouse_optimizer.space import Rows
from stillhouse_optimizer.spec import Problem
from stillhouse_optimizer.surrogate import fit
from stillhouse_optimizer.transfer import Transfer

Array = NDArray[np.float64]

# No number of failures makes a config certain to fail.
_DOUBT = 1e-4
# When fewer than this share of the last model-proposed trials kept the limits, the models were too
# sure of themselves, and the probability counts up to this much more.
_WANTED_RATE, _MOST_CAUTION = 0.25, 2.0
_N_RECENT = 8
_N_ON_FRONT = 10  # trials along the front that the search for the next begins from


class Belief:
    """Fitted models of each objective, of each limit and of success."""

    def __init__(
        self,
        problem: Problem,
        inputs: Inputs,
        evidence: Evidence,
        seed: int,
        transfer: Transfer | None = None,
    ) -> None:
        """Fit every model.

        Args:
            problem: Names the surrogate.
            inputs: What models see.
            evidence: At least two measured trials.
            seed: Of the forests.
            transfer: What earlier studies say.
        """
        self._inputs = inputs
        self._evidence = evidence
        x_every = inputs.of(evidence.rows)
        x = x_every[evidence.is_measured]
        x_pending = inputs.of(evidence.pending)
        terms = Terms(inputs.groups, inputs.is_category, inputs.replaced, inputs.shares)

        def fitted(target: Target, y: Array, k: int) -> Model:
            # Trials that were ended early tell of the metrics that they have; the last ones, by
            # which `auto` judges, are whole.
            rows, also = evidence.also(target)
            x_all = np.concatenate([inputs.of(rows), x]) if len(rows) else x
            y_all = np.concatenate([also, y])

            def own() -> Model:
                return fit(problem.surrogate, terms, x_all, y_all, seed + k)

            if transfer is None:
                model = own()
            else:
                model = transfer.blended(target, terms, x_all, y_all, seed + k, own)
            return model.believing(x_pending) if len(x_pending) else model

        (target, y), *further = evidence.objectives
        self._objectives = [(target, fitted(target, y, 0))]
        self._limits = [
            (target, bound, fitted(target, values, k))
            for k, (target, bound, values) in enumerate(evidence.limits, start=1)
        ]
        for k, (target, y) in enumerate(further, start=1 + len(self._limits)):
            # A limited metric has its model already.
            known = [model for other, _, model in self._limits if other == target]
            self._objectives.append((target, known[0] if known else fitted(target, y, k)))
        self._success: Model | None = None
        if not evidence.is_measured.all():
            # Least-squares classification: 1 for measured, 0 for failed, cut in the middle.
            self._success = fit("forest", terms, x_every, evidence.is_measured.astype(float), seed)
        recent = evidence.is_feasible[problem.n_initial :][-_N_RECENT:]
        rate = float(recent.mean()) if len(recent) else _WANTED_RATE
        self._caution = 1.0 + _MOST_CAUTION * max(0.0, 1.0 - rate / _WANTED_RATE)
        self._gain: Gain | None = None
        if evidence.is_feasible.any():
            self._gain = self._over(x_every[evidence.is_feasible], x_pending)

    def _over(self, feasible: Array, pending: Array) -> Gain:
        """What a trial may gain over those that met the limits and, on a front, running ones."""
        if len(self._objectives) == 1:
            return Improvement.below_best(self._objectives[0][1], feasible)
        likely = self._log_p_feasible(pending) > math.log(0.5)
        known = np.concatenate([feasible, pending[likely]])
        return FrontGain.beyond(self._objectives, known, self._evidence.reference)

    def score(self, rows: Rows) -> Array:
        """Log of the expected gain times the probability of being feasible; shape (n,).

        Without any feasible trial yet the probability alone counts.
        """
        x = self._inputs.of(rows)
        value = self._caution * self._log_p_feasible(x) + self._log_p_success(x)
        if self._gain is not None:
            value += self._gain.of(x)
        return value

    def starts(self, n: int) -> Rows:
        """The best feasible trials so far, or those nearest to feasible; at most n rows.

        Of several objectives those along the front of the means.
        """
        evidence = self._evidence
        rows = evidence.rows[evidence.is_measured]
        if evidence.is_feasible.any():
            feasible = evidence.is_feasible[evidence.is_measured]
            order = np.argsort(np.where(feasible, evidence.objectives[0][1], np.inf), kind="stable")
            best = order[: min(n, int(feasible.sum()))]
            if len(self._objectives) == 1:
                return rows[best]
            x = self._inputs.of(rows[feasible])
            means = np.stack([model.predict(x)[0] for _, model in self._objectives], axis=1)
            front = np.flatnonzero(~is_dominated(means))
            return rows[feasible][front[spread(means[front], _N_ON_FRONT)]]
        return rows[np.argsort(-self._log_p_feasible(self._inputs.of(rows)), kind="stable")[:n]]

    def explain(self, row: NDArray[np.float64]) -> dict[str, float]:
        """``Proposal.prediction`` of one row."""
        x = self._inputs.of(row[None, :])
        prediction: dict[str, float] = {}
        models = [*self._objectives, *((target, model) for target, _, model in self._limits)]
        for target, model in models:
            mean, variance = model.predict(x)
            prediction |= _raw(target, float(mean[0]), math.sqrt(float(variance[0])))
        prediction["p_feasible"] = math.exp(float(self._log_p_feasible(x)[0]))
        prediction["p_success"] = math.exp(float(self._log_p_success(x)[0]))
        return prediction | (self._gain.told(x) if self._gain is not None else {})

    def _log_p_feasible(self, x: Array) -> Array:
        value = np.zeros(len(x))
        for _, bound, model in self._limits:
            mean, variance = model.predict(x)
            value += log_probability_below(mean, np.sqrt(variance + model.noise), bound)
        return value

    def _log_p_success(self, x: Array) -> Array:
        if self._success is None:
            return np.zeros(len(x))
        mean, variance = self._success.predict(x)
        sd = np.sqrt(variance + self._success.noise)
        return np.log(_DOUBT + (1 - _DOUBT) * np.exp(log_probability_below(-mean, sd, -0.5)))


def _raw(target: Target, mean: float, sd: float) -> dict[str, float]:
    low, high = sorted((target.to_raw(mean - sd), target.to_raw(mean + sd)))
    name = target.metric
    return {name: target.to_raw(mean), f"{name}_low": low, f"{name}_high": high}
