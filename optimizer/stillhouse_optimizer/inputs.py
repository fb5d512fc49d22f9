"""What the models see of a config: the network as it is built, not as it was asked for.

Depends on: numpy.

A caller who can say cheaply (without training) what network a config gives passes
``cheap_features``: called with the columns of many configs, it returns columns.
A column named like a parameter replaces that parameter's input (for example the share of
channels really removed after rounding and coupling, 0..1); ``mac_share`` and ``param_share``
(what is left of the dense network's, 0..1) are added on a log scale; any other column is added
as it is and should lie in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.errors import ProblemError
from stillhouse_optimizer.parameter import Config, Value
from stillhouse_optimizer.space import Rows, Space
from stillhouse_optimizer.spec import Problem

Array = NDArray[np.float64]
# Parameter name -> one entry per config: a range's value (NaN: inactive), or the position of a
# choice's or ordinal's value in ``choices`` (-1: inactive).
Columns = Mapping[str, NDArray[Any]]
CheapFeatures = Callable[[Columns], Mapping[str, Any]]

_SHARES = ("mac_share", "param_share")
# Two categories are as far apart as the two ends of a range: |0.7071 e_a - 0.7071 e_b| = 1.
_ONE_HOT = 0.5**0.5
_INACTIVE = 0.5


class Inputs:
    """Model inputs of rows, and which input columns belong to one hyperparameter.

    Attributes:
        groups: Index arrays into the input columns; one group for each parameter, in order, then
            one for each added feature.
        replaced: Positions of the parameters that ``cheap_features`` replaces.
        shares: Positions of the groups of ``mac_share`` and ``param_share``.
    """

    def __init__(self, space: Space, cheap_features: CheapFeatures | None = None) -> None:
        self._space = space
        self._cheap_features = cheap_features
        self._keys: tuple[str, ...] = ()
        if cheap_features is not None:
            self._keys = tuple(sorted(self._features(space.default(), first=True)))
        self.replaced = tuple(j for j, name in enumerate(space.names) if name in self._keys)
        self.groups: list[NDArray[np.intp]] = []
        self.is_category: list[bool] = []
        at = 0
        for parameter in space.parameters:
            width = len(parameter.choices) if parameter.kind == "choice" else 1
            self.groups.append(np.arange(at, at + width))
            self.is_category.append(parameter.kind == "choice")
            at += width
        self.shares: list[int] = []
        for key in [key for key in self._keys if key not in space.names]:
            if key in _SHARES:
                self.shares.append(len(self.groups))
            self.groups.append(np.arange(at, at + 1))
            self.is_category.append(False)
            at += 1
        self.n_columns = at
        # What is taken over as it is, or as a share of its last level, in one go.
        self._plain = np.array(
            [
                j
                for j, p in enumerate(space.parameters)
                if p.kind != "choice" and j not in self.replaced
            ],
            dtype=np.intp,
        )
        self._plain_columns = np.array([self.groups[j][0] for j in self._plain], dtype=np.intp)
        self._last_level = np.array(
            [
                max(len(p.choices) - 1, 1) if p.kind == "ordinal" else 1
                for p in (space.parameters[j] for j in self._plain)
            ],
            dtype=float,
        )

    def of(self, rows: Rows) -> Array:
        """Inputs of rows: shape (n, n_columns), finite, within about 0..1."""
        x = np.empty((len(rows), self.n_columns))
        features = self._features(rows) if self._cheap_features is not None else {}
        plain = rows[:, self._plain] / self._last_level
        plain[np.isnan(plain)] = _INACTIVE
        x[:, self._plain_columns] = plain
        for j, parameter in enumerate(self._space.parameters):
            columns = self.groups[j]
            if parameter.kind == "choice":
                x[:, columns] = _ONE_HOT * (rows[:, j, None] == np.arange(len(columns)))
            elif j in self.replaced:
                code = features[parameter.name]
                x[:, columns[0]] = np.where(np.isnan(code), _INACTIVE, code)
        extra = [key for key in self._keys if key not in self._space.names]
        for key, columns in zip(extra, self.groups[len(self._space.parameters) :], strict=True):
            value = np.nan_to_num(features[key], nan=_INACTIVE)
            if key in _SHARES:
                # The last per cents matter most: halving 0.1 counts as much as halving 1.
                value = np.log(np.maximum(value, 0.0) + 0.05) / 3.0 + 1.0
            x[:, columns[0]] = value
        return x

    def built(self, rows: Rows) -> Array:
        """Replaced parameters as built: shape (n, len(replaced)), NaN where inactive."""
        features = self._features(rows) if self.replaced else {}
        names = [self._space.names[j] for j in self.replaced]
        return np.array([features[name] for name in names]).reshape(len(names), -1).T

    def _features(self, rows: Rows, first: bool = False) -> dict[str, Array]:
        assert self._cheap_features is not None
        given = self._cheap_features(columns_of(self._space, rows))
        features: dict[str, Array] = {}
        for key, column in given.items():
            array = np.asarray(column, dtype=float)
            if array.shape != (len(rows),):
                raise ProblemError(
                    f"cheap_features.{key}", f"wanted {len(rows)} numbers, got shape {array.shape}"
                )
            if np.isinf(array).any():
                raise ProblemError(f"cheap_features.{key}", "infinite")
            features[key] = array
        if not first and tuple(sorted(features)) != self._keys:
            raise ProblemError("cheap_features", f"the columns changed: {sorted(features)}")
        return features


def columns_of(space: Space, rows: Rows) -> dict[str, NDArray[Any]]:
    """Rows as ``Columns``."""
    columns: dict[str, NDArray[Any]] = {}
    for j, parameter in enumerate(space.parameters):
        code = rows[:, j]
        if parameter.is_listed:
            columns[parameter.name] = np.where(np.isnan(code), -1, code).astype(int)
        else:
            columns[parameter.name] = space.values_of(j, code)
    return columns


def per_config(
    problem: Problem, function: Callable[[Config], Mapping[str, float]]
) -> CheapFeatures:
    """Make ``cheap_features`` from a function of one config.

    Simple, and slower than one that works on columns: a proposal asks for some 7,000 configs.
    Answers are remembered as long as the result lives.

    Args:
        problem: Whose configs are asked for.
        function: Config -> the features described above, the same keys each time.
    """
    space = Space(problem)
    known: dict[tuple[Value, ...], Mapping[str, float]] = {}

    def cheap_features(columns: Columns) -> Mapping[str, Sequence[float]]:
        n = len(next(iter(columns.values())))
        answers = []
        for i in range(n):
            config: dict[str, Value] = {}
            for parameter in space.parameters:
                cell = columns[parameter.name][i]
                if parameter.is_listed:
                    if cell >= 0:
                        config[parameter.name] = parameter.choices[int(cell)]
                elif not np.isnan(cell):
                    config[parameter.name] = int(cell) if parameter.kind == "int" else float(cell)
            key = tuple(columns[name][i].item() for name in space.names)
            if key not in known:
                known[key] = function(config)
            answers.append(known[key])
        return {name: [answer[name] for answer in answers] for name in answers[0]}

    return cheap_features
