"""Models that finished studies take part in, as far as they rank this study's trials well.

Depends on: numpy.

A source's model of a metric becomes one more input of this study's model of the same metric. So a
source need not measure alike (another device, other data): how its predictions bear on this
study's, and what they leave unexplained, is learned from this study's own trials. How much such a
model counts beside one without any source is decided by rank (``ranking``).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.additive import Terms, fit_additive
from stillhouse_optimizer.evidence import Target
from stillhouse_optimizer.forest import Model, standard
from stillhouse_optimizer.inputs import Inputs
from stillhouse_optimizer.ranking import (
    FEWEST_RANKED,
    agreement,
    is_dropped,
    rank_weights,
    ranking_losses,
)
from stillhouse_optimizer.sources import FEWEST_TRIALS, Source, rows_of, value_of
from stillhouse_optimizer.space import Rows, Space
from stillhouse_optimizer.spec import Problem
from stillhouse_optimizer.surrogate import fit

Array = NDArray[np.float64]

_MOST_TRIALS = 500  # the newest lie where its search was
_N_KEPT = 32
_N_FOLDS = 5
# What a source leaves unexplained is expected to be less by so much, in log variance.
_LOG_LESS = -2.0


@dataclass(frozen=True)
class _Column:
    """What a source predicts of one metric, as an input: about 0..1."""

    model: Model
    center: float
    scale: float

    def of(self, x: Array) -> Array:
        """One column (n, 1) for inputs (n, k)."""
        # As wide as a number that is spread evenly over 0..1.
        told = 0.5 + (self.model.predict(x)[0] - self.center) / (self.scale * math.sqrt(12.0))
        return np.asarray(np.clip(told, -0.5, 1.5)[:, None])


@dataclass(frozen=True)
class Blend:
    """A mixture of models of one metric: the study's own, and one on top of each source.

    Attributes:
        members: Weight, the source's column (None: the study's own model), and the model.
    """

    members: Sequence[tuple[float, _Column | None, Model]]

    @property
    def noise(self) -> float:
        """Variance of one measurement."""
        return sum(weight * model.noise for weight, _, model in self.members)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of the mixture at inputs (n, k); both shape (n,)."""
        mean, square = np.zeros(len(x)), np.zeros(len(x))
        for weight, column, model in self.members:
            told, variance = model.predict(_with(x, column))
            mean += weight * told
            square += weight * (variance + told**2)
        return mean, np.maximum(square - mean**2, 1e-12)

    def believing(self, x: Array) -> Blend:
        """Each member as if one more trial at each of x had measured what it expects."""
        return replace(
            self,
            members=[(w, c, model.believing(_with(x, c))) for w, c, model in self.members],
        )


def _with(x: Array, column: _Column | None) -> Array:
    return x if column is None else np.concatenate([x, column.of(x)], axis=1)


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
        columns = [
            (source.name, self._column(target, terms, source, rows, kept))
            for source, rows, kept in self._sources
        ]
        usable = [(name, column) for name, column in columns if column is not None]
        self._count(target, dict.fromkeys((name for name, _ in usable), 0.0))
        if not usable:
            return own()
        told = [column.model.predict(x)[0] for _, column in usable]
        for (name, _), of_source in zip(usable, told, strict=True):
            if (tau := agreement(of_source, y)) is not None:
                self.agreements[name][target.metric] = tau
        wide = self._wide(terms, x.shape[1])
        if len(y) < FEWEST_RANKED:
            members = [(column, self._on_top(wide, column, x, y, seed)) for _, column in usable]
            share = 1.0 / (1 + len(members))
            self._has_any = True
            self._count(target, {name: share for name, _ in usable})
            return Blend([(share, None, own()), *((share, *member) for member in members)])
        unseen = [_left_out(terms, x, y)]
        draws = [seed, 0x7A]
        losses = ranking_losses([*unseen, *told], y, np.random.default_rng(draws))
        usable = [
            pair
            for pair, loss in zip(usable, losses[1:], strict=True)
            if not is_dropped(loss, losses[0])
        ]
        self._has_any = self._has_any or bool(usable)
        unseen += [_left_out(wide, _with(x, column), y) for _, column in usable]
        weights = rank_weights(ranking_losses(unseen, y, np.random.default_rng(draws))).tolist()
        self._count(target, {name: w for (name, _), w in zip(usable, weights[1:], strict=True)})
        blend: list[tuple[float, _Column | None, Model]] = []
        if weights[0] > 0:
            blend.append((weights[0], None, own()))
        for (_, column), weight in zip(usable, weights[1:], strict=True):
            if weight > 0:
                blend.append((weight, column, self._on_top(wide, column, x, y, seed)))
        return blend[0][2] if len(blend) == 1 and blend[0][1] is None else Blend(blend)

    def _count(self, target: Target, weights: Mapping[str, float]) -> None:
        for name, weight in weights.items():
            self.weights[name][target.metric] = weight

    def _wide(self, terms: Terms, at: int) -> Terms:
        """The terms of a model on top of a source, whose column stands at ``at``."""
        inputs = self._inputs
        groups = [*terms.groups, np.array([at])]
        source = len(groups) - 1
        wide = Terms(
            groups, [*inputs.is_category, False], inputs.replaced, [*inputs.shares, source]
        )
        strong = wide.log_variance[source]
        wide.log_variance = wide.log_variance + _LOG_LESS
        wide.log_variance[source] = strong
        return wide

    def _on_top(self, wide: Terms, column: _Column, x: Array, y: Array, seed: int) -> Model:
        return fit(self._surrogate, wide, _with(x, column), y, seed)

    def _column(
        self,
        target: Target,
        terms: Terms,
        source: Source,
        rows: Rows,
        kept: Sequence[int],
    ) -> _Column | None:
        values = [value_of(source.history[i], target.metric) for i in kept]
        at = [k for k, v in enumerate(values) if v is not None and (v > 0 or not target.is_log)]
        at = at[-_MOST_TRIALS:]
        if len(at) < FEWEST_TRIALS:
            return None
        x = self._inputs.of(rows[at])
        y = np.array([target.to_model(float(values[k] or 0.0)) for k in at])
        center, scale = standard(y)
        return _Column(_source_model(self._surrogate, terms, x, y), center, scale)


def described(weights: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Say in a sentence for each source how much it counts."""
    said = []
    for name, of_metric in weights.items():
        if not of_metric:
            continue
        counts = ", ".join(f"{100 * w:.0f} % for {metric}" for metric, w in of_metric.items())
        if not any(of_metric.values()):
            said.append(f"{name} is left out: it ranks this study's trials worse than they do")
        else:
            said.append(f"{name} counts {counts}")
    return said


def _left_out(terms: Terms, x: Array, y: Array) -> Array:
    """What the additive model predicts of each trial (n,), fitted to other trials alone.

    Its settings are learned anew each time: kept ones would have seen what is to be predicted.
    """
    told = np.empty(len(y))
    for fold in range(_N_FOLDS):
        out = np.arange(len(y)) % _N_FOLDS == fold
        told[out] = fit_additive(terms, x[~out], y[~out]).predict(x[out])[0]
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
