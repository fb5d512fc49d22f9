"""Models that finished studies take part in, as far as they rank this study's trials well.

Depends on: numpy.

A source whose own model ranks this study's trials badly is dropped (``ranking``). The trials of
each of the others and this study's give one model of a metric (``joint``), and such models count
beside the study's own by what they predict of its trials, each left out in turn.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.additive import Terms, fit_additive
from stillhouse_optimizer.evidence import Target
from stillhouse_optimizer.forest import Model
from stillhouse_optimizer.inputs import Inputs
from stillhouse_optimizer.joint import aligned, fit_joint
from stillhouse_optimizer.ranking import (
    FEWEST_RANKED,
    agreement,
    is_dropped,
    rank_weights,
    ranking_losses,
    squared_losses,
)
from stillhouse_optimizer.sources import FEWEST_TRIALS, Source, rows_of, value_of
from stillhouse_optimizer.space import Mask, Rows, Space
from stillhouse_optimizer.spec import Problem
from stillhouse_optimizer.surrogate import fit, with_forest

Array = NDArray[np.float64]

_MOST_TRIALS = 500  # the newest lie where its search was
_N_KEPT = 32
_N_FOLDS = 5


@dataclass(frozen=True)
class _Told:
    """What a source says of one metric.

    Attributes:
        name: The source's.
        x: Inputs of its trials (m, k).
        y: Their modelled values (m,).
        told: What its own model says of this study's trials (n,).
    """

    name: str
    x: Array
    y: Array
    told: Array


@dataclass(frozen=True)
class Blend:
    """A mixture of models of one metric: the study's own, and one with each source.

    Attributes:
        members: Weight and model.
    """

    members: Sequence[tuple[float, Model]]

    @property
    def noise(self) -> float:
        """Variance of one measurement."""
        return sum(weight * model.noise for weight, model in self.members)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of the mixture at inputs (n, k); both shape (n,)."""
        mean, square = np.zeros(len(x)), np.zeros(len(x))
        for weight, model in self.members:
            told, variance = model.predict(x)
            mean += weight * told
            square += weight * (variance + told**2)
        return mean, np.maximum(square - mean**2, 1e-12)

    def believing(self, x: Array) -> Blend:
        """Each member as if one more trial at each of x had measured what it expects."""
        return replace(self, members=[(w, model.believing(x)) for w, model in self.members])


class Transfer:
    """What sources say, prepared for one proposal.

    Attributes:
        weights: Source -> metric -> how much it counts, 0..1.
        agreements: Source -> metric -> Kendall's rank correlation of what the source by itself
            predicts of this study's trials with what was measured, -1..1.
    """

    @property
    def is_dropped(self) -> bool:
        """Whether no source was kept for any metric that was modelled."""
        return not self._has_any

    def __init__(
        self, problem: Problem, space: Space, inputs: Inputs, sources: Sequence[Source]
    ) -> None:
        """Read the sources' trials.

        Args:
            problem: Of the study that learns.
            space: Its space.
            inputs: What its models see; sources' models see the same.
            sources: Any number.
        """
        self._surrogate = "forest" if problem.surrogate == "auto" else problem.surrogate
        self._inputs = inputs
        self._sources = [(source, *rows_of(space, source)) for source in sources]
        self.weights: dict[str, dict[str, float]] = {source.name: {} for source in sources}
        self.agreements: dict[str, dict[str, float]] = {source.name: {} for source in sources}
        self._has_any = False

    def blended(
        self,
        target: Target,
        terms: Terms,
        x: Array,
        y: Array,
        seed: int,
        own: Callable[[], Model],
    ) -> Model:
        """A model of one metric that sources take part in as far as they rank its trials well.

        Args:
            target: The metric.
            terms: Of the study's own model.
            x: Inputs of the study's measured trials (n, k).
            y: Their modelled values (n,).
            seed: Of forests and draws.
            own: Fits the study's own model.
        """
        told = [self._told(target, terms, x, *source) for source in self._sources]
        usable = [source for source in told if source is not None]
        self._count(target, dict.fromkeys((source.name for source in usable), 0.0))
        if not usable:
            return own()
        for source in usable:
            if (tau := agreement(source.told, y)) is not None:
                self.agreements[source.name][target.metric] = tau
        if len(y) < FEWEST_RANKED:
            share = 1.0 / (1 + len(usable))
            weights = [share] * (1 + len(usable))
        else:
            unseen = [_left_out(terms, x, y)]
            draws = [seed, 0x7A]
            losses = ranking_losses(
                [*unseen, *(source.told for source in usable)], y, np.random.default_rng(draws)
            )
            usable = [
                source
                for source, loss in zip(usable, losses[1:], strict=True)
                if not is_dropped(loss, losses[0])
            ]
            unseen += [_left_out(terms, x, y, source) for source in usable]
            weights = rank_weights(squared_losses(unseen, y, np.random.default_rng(draws))).tolist()
        self._has_any = self._has_any or bool(usable)
        self._count(target, {s.name: w for s, w in zip(usable, weights[1:], strict=True)})
        if not any(weights[1:]):
            return own()
        blend: list[tuple[float, Model]] = [(weights[0], own())] if weights[0] > 0 else []
        for source, weight in zip(usable, weights[1:], strict=True):
            if weight > 0:
                joint = fit_joint(terms, _aligned(source, y), (x, y))
                blend.append((weight, with_forest(joint, x, y, seed)))
        return Blend(blend)

    def _count(self, target: Target, weights: Mapping[str, float]) -> None:
        for name, weight in weights.items():
            self.weights[name][target.metric] = weight

    def _told(
        self,
        target: Target,
        terms: Terms,
        x: Array,
        source: Source,
        rows: Rows,
        kept: Sequence[int],
    ) -> _Told | None:
        values = [value_of(source.history[i], target.metric) for i in kept]
        at = [k for k, v in enumerate(values) if v is not None and (v > 0 or not target.is_log)]
        at = at[-_MOST_TRIALS:]
        if len(at) < FEWEST_TRIALS:
            return None
        there = self._inputs.of(rows[at])
        y = np.array([target.to_model(float(values[k] or 0.0)) for k in at])
        model = _source_model(self._surrogate, terms, there, y)
        return _Told(source.name, there, y, model.predict(x)[0])


def described(weights: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Say in a sentence for each source how much it counts."""
    said = []
    for name, of_metric in weights.items():
        if not of_metric:
            continue
        counts = ", ".join(f"{100 * w:.0f} % for {metric}" for metric, w in of_metric.items())
        if not any(of_metric.values()):
            said.append(f"{name} is left out: it tells less of this study's trials than they do")
        else:
            said.append(f"{name} counts {counts}")
    return said


def _aligned(source: _Told, y: Array, known: Mask | None = None) -> tuple[Array, Array]:
    told = source.told if known is None else source.told[known]
    return source.x, aligned(source.y, told, y)


def _left_out(terms: Terms, x: Array, y: Array, source: _Told | None = None) -> Array:
    """What an additive model predicts of each trial (n,), fitted to other trials alone.

    Its settings are learned anew each time: kept ones would have seen what is to be predicted.
    """
    told = np.empty(len(y))
    for fold in range(_N_FOLDS):
        out = np.arange(len(y)) % _N_FOLDS == fold
        known = x[~out], y[~out]
        if source is None:
            model = fit_additive(terms, *known)
        else:
            model = fit_joint(terms, _aligned(source, known[1], ~out), known)
        told[out] = model.predict(x[out])[0]
    return told


# A source's trials do not change, and a proposal needs its models each time: what was fitted last
# is kept by all that decides it, so that nothing but time depends on it.
_fitted: OrderedDict[tuple[str | bytes, ...], Model] = OrderedDict()


def _source_model(surrogate: str, terms: Terms, x: Array, y: Array) -> Model:
    key = (surrogate, x.tobytes(), y.tobytes(), terms.owner.tobytes(), terms.log_variance.tobytes())
    if key not in _fitted:
        _fitted[key] = fit(surrogate, terms, x, y, 0)
        while len(_fitted) > _N_KEPT:
            _fitted.popitem(last=False)
    _fitted.move_to_end(key)
    return _fitted[key]
