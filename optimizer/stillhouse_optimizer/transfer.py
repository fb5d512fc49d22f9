"""Learning from finished studies whose space overlaps: their trials as rows, models and starts.

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

from stillhouse_optimizer.additive import AdditiveModel, Terms, fit_additive
from stillhouse_optimizer.errors import ProblemError
from stillhouse_optimizer.evidence import Target
from stillhouse_optimizer.feasibility import is_feasible
from stillhouse_optimizer.forest import Model, standard
from stillhouse_optimizer.inputs import Inputs
from stillhouse_optimizer.parameter import Config, Parameter
from stillhouse_optimizer.ranking import rank_weights
from stillhouse_optimizer.space import Rows, Space
from stillhouse_optimizer.spec import Observation, Problem, is_maximised
from stillhouse_optimizer.surrogate import AdditiveForest, fit

Array = NDArray[np.float64]

# A source with fewer usable trials of a metric has no model of it.
FEWEST_TRIALS = 5
_MOST_TRIALS = 500  # the newest lie where its search was
_N_KEPT = 32


@dataclass(frozen=True)
class Source:
    """A finished study to learn from.

    Attributes:
        name: What it is called in notes and weights.
        parameters: Its own.
        history: Its finished trials.
    """

    name: str
    parameters: tuple[Parameter, ...]
    history: Sequence[Observation]


def shared(here: Sequence[Parameter], there: Sequence[Parameter]) -> tuple[str, ...]:
    """Names of parameters of the same kind that have values in common; the order is ``here``'s."""
    known = {parameter.name: parameter for parameter in there}
    return tuple(p.name for p in here if p.name in known and _overlaps(p, known[p.name]))


def _overlaps(one: Parameter, other: Parameter) -> bool:
    if one.is_listed != other.is_listed:
        return False
    if one.is_listed:
        return any(other.allows(value) for value in one.choices)
    return max(one.low, other.low) <= min(one.high, other.high)


def check_source(problem: Problem, source: Source) -> tuple[str, ...]:
    """Make sure that a source has something to say.

    Returns:
        The names of the shared parameters.

    Raises:
        ProblemError: No parameter is shared, or hardly a trial lies within this space, or none
            measured what is wanted here.
    """
    names = shared(problem.parameters, source.parameters)
    if not names:
        raise ProblemError(
            source.name,
            "its space has nothing in common with this one: there "
            f"{_listed(source.parameters)}, here {_listed(problem.parameters)}",
        )
    _, kept = rows_of(Space(problem), source)
    told = [source.history[i] for i in kept]
    for metric in dict.fromkeys([*problem.objectives, *(c.metric for c in problem.constraints)]):
        n = sum(_value(trial, metric) is not None for trial in told)
        if n < FEWEST_TRIALS:
            raise ProblemError(
                source.name,
                f"only {n} of its {len(source.history)} trials lie within this space and have "
                f"{metric}; at least {FEWEST_TRIALS} are wanted",
            )
    return names


def _listed(parameters: Sequence[Parameter]) -> str:
    names = [parameter.name for parameter in parameters]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def rows_of(space: Space, source: Source) -> tuple[Rows, list[int]]:
    """A source's trials in this study's space.

    Parameters of the same name and kind keep their values; what a trial does not say has its
    default here. A trial with a value outside of this space is left out.

    Returns:
        Rows (k, n_parameters), and each one's place in the source's history.
    """
    names = set(shared(space.parameters, source.parameters))
    rows, kept = [], []
    for i, trial in enumerate(source.history):
        row = _row(space, names, trial.config)
        if row is not None:
            rows.append(row)
            kept.append(i)
    found = np.array(rows).reshape(-1, len(space.names))
    return space.activate(found), kept


def _row(space: Space, names: set[str], config: Config) -> Array | None:
    row = space.default_codes.copy()
    for j, parameter in enumerate(space.parameters):
        if parameter.name not in names or parameter.name not in config:
            continue
        value = config[parameter.name]
        if not parameter.is_listed and not parameter.allows(value):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not parameter.low <= float(value) <= parameter.high:  # type: ignore[arg-type]  # a number, see above
                return None
            value = parameter.snap(float(value))  # type: ignore[arg-type]  # another step here
        if not parameter.allows(value):
            return None
        row[j] = space.code_of(j, value)
    return row


def _value(trial: Observation, metric: str) -> float | None:
    value = (trial.metrics or {}).get(metric) if trial.status == "complete" else None
    return value if value is not None and math.isfinite(value) and abs(value) <= 1e15 else None


def best_rows(problem: Problem, space: Space, sources: Sequence[Source], n: int) -> Rows:
    """Good and different configs of sources, judged by this study's limits; at most n rows.

    Sources take turns; of each the best comes first, then of its next best ones each time the one
    that is farthest from those taken.
    """
    by_source = [_best_of(problem, space, source, n) for source in sources]
    turns: list[Array] = []
    for k in range(n):
        turns += [rows[k] for rows in by_source if k < len(rows)]
    return np.array(turns[:n]).reshape(-1, len(space.names))


def _best_of(problem: Problem, space: Space, source: Source, n: int) -> Rows:
    rows, kept = rows_of(space, source)
    sign = -1.0 if is_maximised(problem.objective) else 1.0
    ranked: list[tuple[tuple[float, float, int], int]] = []
    for at, i in enumerate(kept):
        trial = source.history[i]
        value = _value(trial, problem.objective)
        if value is None or not space.is_legal(rows[at : at + 1])[0]:
            continue
        _, violations = is_feasible(trial.metrics or {}, problem.constraints)
        missed = sum(math.inf if v is None else v for v in violations.values())
        ranked.append(((missed, sign * value, at), at))
    pool = [at for _, at in sorted(ranked)][: 2 * n]
    codes = np.nan_to_num(rows, nan=-1.0)
    chosen = pool[:1]
    while len(chosen) < min(n, len(pool)):
        left = [at for at in pool if at not in chosen]
        far = [min(float(np.abs(codes[a] - codes[b]).sum()) for b in chosen) for a in left]
        chosen.append(left[int(np.argmax(far))])
    return rows[chosen]


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
    """What sources say, prepared for one proposal."""

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
        self.notes: list[str] = []

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
            (source.name, self._column(target, terms, source, rows, kept, seed))
            for source, rows, kept in self._sources
        ]
        usable = [(name, column) for name, column in columns if column is not None]
        if not usable:
            return own()
        groups = [*terms.groups, np.array([x.shape[1]])]
        inputs = self._inputs
        wide = Terms(
            groups,
            [*inputs.is_category, False],
            inputs.replaced,
            [*inputs.shares, len(groups) - 1],
        )
        members: list[tuple[_Column | None, Model]] = [(None, own())]
        left_out = [_left_out(members[0][1], terms, x, y)]
        for _, column in usable:
            seen = _with(x, column)
            model = fit(self._surrogate, wide, seen, y, seed)
            members.append((column, model))
            left_out.append(_left_out(model, wide, seen, y))
        weights = rank_weights(left_out, y, np.random.default_rng([seed, 0x7A]))
        for (name, _), weight in zip(usable, weights[1:].tolist(), strict=True):
            self.weights[name][target.metric] = weight
        return Blend(
            [
                (float(weight), column, model)
                for weight, (column, model) in zip(weights, members, strict=True)
                if weight > 0
            ]
        )

    def _column(
        self,
        target: Target,
        terms: Terms,
        source: Source,
        rows: Rows,
        kept: Sequence[int],
        seed: int,
    ) -> _Column | None:
        values = [_value(source.history[i], target.metric) for i in kept]
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


def _left_out(model: Model, terms: Terms, x: Array, y: Array) -> Array:
    """What the additive part predicts of each trial from all others (n,), its settings kept.

    Source: Allen 1974, "The Relationship Between Variable Selection and Data Augmentation and a
    Method for Prediction" (PRESS): the residual without a trial is the residual over one less its
    leverage.
    """
    part = model.additive if isinstance(model, AdditiveForest) else fit_additive(terms, x, y)
    assert isinstance(part, AdditiveModel)
    mean, variance = part.predict(x)
    leverage = np.clip(variance / part.noise, 0.0, 1.0 - 1e-6)
    return np.asarray(y - (y - mean) / (1.0 - leverage))


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
