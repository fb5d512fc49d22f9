"""The search space on arrays: activity, legality, sampling, encoding and decoding.

Depends on: numpy.

A config is a row of ``n_parameters`` floats in the order of the problem's parameters: a range is
0..1 (on the log scale where it has one; countable values sit exactly on their level), a choice or
ordinal is the index of its value, an inactive parameter is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer.errors import ProblemError
from stillhouse_optimizer.parameter import Config, Parameter, Value
from stillhouse_optimizer.spec import Problem

Rows = NDArray[np.float64]  # (n, n_parameters)
Mask = NDArray[np.bool_]

# Discrete assignments visited before a space counts as too large to be listed.
_VISITS = 20_000
# A space with at most this many configs is listed and searched as a list.
LISTED = 4_096


class Space:
    """Arrays for one problem. Everything random comes from the generator that is passed in.

    Attributes:
        parameters: The problem's parameters; their order is the order of columns.
        listed: Every legal config, when there are at most ``LISTED`` of them; else None.
    """

    def __init__(self, problem: Problem) -> None:
        """Build the arrays.

        Raises:
            ProblemError: conditions form a circle, or the forbidden clauses leave no config.
        """
        self.parameters: tuple[Parameter, ...] = problem.parameters
        self.names = tuple(p.name for p in problem.parameters)
        self._column = {name: j for j, name in enumerate(self.names)}
        self.n_levels = np.array([p.n_values or 0 for p in problem.parameters])
        self.is_listed = np.array([p.is_listed for p in problem.parameters])
        self.is_continuous = np.array([p.is_continuous for p in problem.parameters])
        # Codes of countable values, in level order: what a row holds for them.
        self.codes: tuple[NDArray[np.float64] | None, ...] = tuple(
            None if p.is_continuous else _codes(p) for p in problem.parameters
        )
        self._conditions = [
            [
                (self._column[c.parent], self._codes_of(self._column[c.parent], c.values))
                for c in p.conditions
            ]
            for p in problem.parameters
        ]
        self._clauses = [
            [
                (self._column[name], self._codes_of(self._column[name], values))
                for name, values in clause.items()
            ]
            for clause in problem.forbidden
        ]
        self._order = self._parents_first()
        self.listed = self._list()

    # -- legality ------------------------------------------------------------------------------

    def activate(self, rows: Rows, fill: Rows | None = None) -> Rows:
        """Set inactive parameters to NaN and fill active ones that are NaN.

        Changes ``rows`` in place and returns them.

        Args:
            rows: Codes (n, n_parameters).
            fill: Codes of the same shape for parameters that become active; defaults without.
        """
        for j in self._order:
            conditions = self._conditions[j]
            if not conditions:
                continue
            active = np.ones(len(rows), dtype=bool)
            for parent, codes in conditions:
                active &= is_among(rows[:, parent], codes)
            column = rows[:, j]
            column[~active] = np.nan
            empty = active & np.isnan(column)
            if empty.any():
                column[empty] = self.default_codes[j] if fill is None else fill[empty, j]
        return rows

    @property
    def default_codes(self) -> NDArray[np.float64]:
        """Each parameter's default as a code, whether active by default or not."""
        return np.array([self.code_of(j, p.default) for j, p in enumerate(self.parameters)])

    def is_complete(self, rows: Rows) -> Mask:
        """Which rows have every parameter that no condition guards; shape (n,)."""
        always = [j for j, conditions in enumerate(self._conditions) if not conditions]
        return np.asarray(~np.isnan(rows[:, always]).any(axis=1))

    def is_legal(self, rows: Rows) -> Mask:
        """Which rows break no forbidden clause; shape (n,)."""
        legal = np.ones(len(rows), dtype=bool)
        for clause in self._clauses:
            hit = np.ones(len(rows), dtype=bool)
            for j, codes in clause:
                hit &= is_among(rows[:, j], codes)
            legal &= ~hit
        return legal

    def snap(self, rows: Rows) -> Rows:
        """Clip ranges to 0..1 and put countable ones on their nearest level, in place."""
        rows[:] = np.where(self.is_continuous, np.clip(rows, 0.0, 1.0), rows)
        for j, codes in enumerate(self.codes):
            if codes is not None and not self.is_listed[j]:
                column = rows[:, j]
                known = ~np.isnan(column)
                column[known] = codes[nearest(codes, column[known])]
        return rows

    # -- sampling ------------------------------------------------------------------------------

    def sample(self, n: int, rng: np.random.Generator) -> Rows:
        """Draw ``n`` legal rows (fewer only when none is found), uniform over codes."""
        return self.from_unit(lambda m: rng.random((m, len(self.parameters))), n)

    def from_unit(self, draw: Callable[[int], NDArray[np.float64]], n: int) -> Rows:
        """Legal rows from points of the unit cube.

        Args:
            draw: Called with a number m, gives an array (m, n_parameters) in [0, 1).
            n: How many rows to give.
        """
        kept: list[Rows] = []
        n_kept = 0
        for _ in range(8):
            rows = self.place(draw(n))
            rows = rows[self.is_legal(rows)]
            kept.append(rows)
            n_kept += len(rows)
            if n_kept >= n:
                break
        if n_kept == 0:
            kept = [self._fill(self._first_legal(n), draw(n))]
        return np.concatenate(kept)[:n]

    def place(self, unit: NDArray[np.float64]) -> Rows:
        """Rows (legal or not) from points (n, n_parameters) of the unit cube, evenly spread."""
        return self.activate(self.spread(unit))

    def spread(self, unit: NDArray[np.float64]) -> Rows:
        """Like ``place``, with every parameter active."""
        rows = np.array(unit, dtype=float)
        for j, codes in enumerate(self.codes):
            if codes is not None:
                level = np.minimum((unit[:, j] * len(codes)).astype(int), len(codes) - 1)
                rows[:, j] = codes[level]
        return rows

    def open(self, row: NDArray[np.float64], j: int) -> None:
        """Set ancestors of the ``j``-th parameter so that it is active, in place."""
        for parent, codes in self._conditions[j]:
            if not is_among(row[parent : parent + 1], codes)[0]:
                row[parent] = codes[0]
            self.open(row, parent)

    def active_levels(self, j: int) -> dict[int, Mask]:
        """Which levels of each ancestor (by column) keep the ``j``-th parameter active."""
        allowed: dict[int, Mask] = {}
        for parent, codes in self._conditions[j]:
            levels = self.codes[parent]
            assert levels is not None  # conditions stand on countable values
            mine = {parent: is_among(levels, codes)}
            for found in (mine, self.active_levels(parent)):
                for column, mask in found.items():
                    allowed[column] = mask & allowed[column] if column in allowed else mask
        return allowed

    def descendants(self, j: int) -> list[int]:
        """Columns whose activity hangs on the ``j``-th parameter."""
        return [k for k in range(len(self.names)) if j in self.active_levels(k)]

    def default(self) -> Rows:
        """The default config as one row (1, n_parameters); it may be forbidden."""
        return self.activate(self.default_codes[None, :].copy())

    def anchor(self) -> Rows:
        """The default where it is legal, else some legal row; always the same."""
        default = self.default()
        if self.is_legal(default)[0]:
            return default
        # Unset ranges stand in the middle.
        return self._fill(self._first_legal(1), np.full((1, len(self.names)), 0.5))

    # -- plain data ----------------------------------------------------------------------------

    def encode(self, config: Config, where: str = "config") -> NDArray[np.float64]:
        """The row of a config.

        Raises:
            ProblemError: a name is unknown, an active parameter is missing, an inactive one is
                given or a value is outside its range.
        """
        row = np.full(len(self.names), np.nan)
        for name, value in config.items():
            j = self._column.get(name)
            if j is None:
                raise ProblemError(f"{where}.{name}", "no such parameter")
            if not self.parameters[j].allows(value):
                raise ProblemError(f"{where}.{name}", f"{value!r} is outside its range")
            row[j] = self.code_of(j, value)
        # Missing active ones would be filled by activate(), so the two must not differ.
        full = self.activate(row[None, :].copy())[0]
        for j, name in enumerate(self.names):
            if not self._conditions[j] and np.isnan(row[j]):
                raise ProblemError(f"{where}.{name}", "missing")
            if np.isnan(row[j]) != np.isnan(full[j]):
                what = "missing" if np.isnan(row[j]) else "given, but inactive in this config"
                raise ProblemError(f"{where}.{name}", what)
        return row

    def decode(self, row: NDArray[np.float64]) -> dict[str, Value]:
        """The config of a row: plain Python scalars of the active parameters."""
        config: dict[str, Value] = {}
        for j, parameter in enumerate(self.parameters):
            if not math.isnan(row[j]):
                config[parameter.name] = self.value_of(j, float(row[j]))
        return config

    def code_of(self, j: int, value: Value) -> float:
        """What a row holds for a value that the ``j``-th parameter allows."""
        parameter = self.parameters[j]
        codes = self.codes[j]
        if codes is not None:
            level = parameter.level_of(value)
            assert level is not None, (parameter.name, value)
            return float(codes[level])
        assert isinstance(value, float | int)
        return to_unit(parameter, float(value))

    def values_of(self, j: int, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers that codes of the ``j``-th parameter, a range, stand for; NaN stays NaN."""
        parameter, levels = self.parameters[j], self.codes[j]
        if levels is not None:
            numbers = np.append([float(v) for v in self._numbers(j)], np.nan)
            return np.asarray(numbers[np.where(np.isnan(codes), -1, nearest(levels, codes))])
        low, high = parameter.low, parameter.high
        if parameter.log:
            return np.clip(low * (high / low) ** codes, low, high)
        return np.clip(low + codes * (high - low), low, high)

    def _numbers(self, j: int) -> list[float]:
        parameter = self.parameters[j]
        values = (parameter.value_at(k) for k in range(int(self.n_levels[j])))
        return [value for value in values if isinstance(value, float | int)]

    def value_of(self, j: int, code: float) -> Value:
        """The value that a code of the ``j``-th parameter stands for, as a plain scalar."""
        parameter = self.parameters[j]
        codes = self.codes[j]
        if codes is not None:
            return parameter.value_at(int(nearest(codes, np.array([code]))[0]))
        return _from_unit(parameter, code)

    def _codes_of(self, j: int, values: Sequence[Value]) -> NDArray[np.float64]:
        return np.array([self.code_of(j, value) for value in values])

    # -- order and enumeration -----------------------------------------------------------------

    def _parents_first(self) -> list[int]:
        """Columns after their parents; those that decide a clause as early as possible.

        So the walk through legal rows meets a contradiction before it has chosen the rest.
        """
        parents = [{parent for parent, _ in conditions} for conditions in self._conditions]
        decisive = {j for clause in self._clauses for j, _ in clause}
        grown = -1
        while len(decisive) != grown:
            grown = len(decisive)
            decisive |= {parent for j in decisive for parent in parents[j]}
        order: list[int] = []
        waiting = sorted(range(len(self.names)), key=lambda j: j not in decisive)
        while waiting:
            ready = [j for j in waiting if parents[j] <= set(order)]
            if not ready:
                circle = ", ".join(self.names[j] for j in sorted(waiting))
                raise ProblemError("parameters", f"conditions form a circle among {circle}")
            # Deeper decisive ones go before anything that decides nothing.
            first = [j for j in ready if j in decisive] or ready
            order += first
            waiting = [j for j in waiting if j not in first]
        return order

    def _list(self) -> Rows | None:
        """Every legal row of a small finite space, else None; proves that there is one."""
        always = [p for p in self.parameters if not p.conditions]
        n_at_least = math.prod(p.n_values or LISTED + 1 for p in always)
        if not self._clauses and n_at_least > LISTED:
            return None
        rows: list[NDArray[np.float64]] = []
        is_finite = True
        for row in self.enumerate_legal():
            if row is None:
                return None  # gave up: too large to tell
            rows.append(row)
            # A free range stands at infinity in an enumerated row.
            is_finite = is_finite and not np.isinf(row).any()
            if not is_finite or len(rows) > LISTED:
                return None
        if not rows:
            raise ProblemError("forbidden", "the clauses contradict each other: no config is left")
        return np.array(rows)

    def enumerate_legal(self, visits: int = _VISITS) -> Iterator[NDArray[np.float64] | None]:
        """Walk through the legal rows, parents first, each once.

        Continuous ranges are not walked through: they stand as infinity. Yields None and ends
        after ``visits`` partial assignments without the end.
        """
        # A clause can be judged as soon as its last parameter is set.
        position = {j: k for k, j in enumerate(self._order)}
        due: list[list[list[tuple[int, NDArray[np.float64]]]]] = [[] for _ in self._order]
        for clause in self._clauses:
            due[max(position[j] for j, _ in clause)].append(clause)
        row = np.full(len(self.names), np.nan)
        stack: list[Iterator[float]] = [self._options(self._order[0], row)]
        n_visits = 0
        while stack:
            depth = len(stack) - 1
            j = self._order[depth]
            code = next(stack[-1], None)
            if code is None:
                row[j] = np.nan
                stack.pop()
                continue
            n_visits += 1
            if n_visits > visits:
                yield None
                return
            row[j] = code
            if any(
                all(is_among(row[k : k + 1], codes)[0] for k, codes in clause)
                for clause in due[depth]
            ):
                continue
            if depth + 1 == len(self._order):
                yield row.copy()
            else:
                stack.append(self._options(self._order[depth + 1], row))

    def _options(self, j: int, row: NDArray[np.float64]) -> Iterator[float]:
        for parent, codes in self._conditions[j]:
            if not is_among(row[parent : parent + 1], codes)[0]:
                return iter([math.nan])
        codes_j = self.codes[j]
        return iter([math.inf]) if codes_j is None else iter(codes_j.tolist())

    def _first_legal(self, n: int) -> Rows:
        rows: list[NDArray[np.float64]] = []
        for row in self.enumerate_legal(50 * _VISITS):
            if row is None or len(rows) == n:
                break
            rows.append(row)
        if not rows:
            raise ProblemError("forbidden", "found no config that the clauses allow")
        return np.array(rows).reshape(-1, len(self.names))

    def _fill(self, rows: Rows, unit: NDArray[np.float64]) -> Rows:
        free = np.isinf(rows)
        rows[free] = unit[: len(rows)][free]
        return rows


def _codes(parameter: Parameter) -> NDArray[np.float64]:
    n = parameter.n_values
    assert n is not None
    if parameter.is_listed:
        return np.arange(n, dtype=float)
    values = np.array([float(parameter.value_at(k)) for k in range(n)])  # type: ignore[arg-type]  # numeric kinds
    if n == 1:
        return np.array([0.5])
    low, high = float(values[0]), float(values[-1])
    if parameter.log:
        codes = np.log(values / low) / math.log(high / low)
    else:
        codes = (values - low) / (high - low)
    codes[0], codes[-1] = 0.0, 1.0
    return np.asarray(codes)


def to_unit(parameter: Parameter, value: float) -> float:
    """Where a value of a range lies on the parameter's own scale, 0..1."""
    low, high = parameter.low, parameter.high
    if parameter.log:
        unit = math.log(value / low) / math.log(high / low)
    else:
        unit = (value - low) / (high - low)
    return min(max(unit, 0.0), 1.0)


def _from_unit(parameter: Parameter, unit: float) -> float:
    low, high = parameter.low, parameter.high
    if unit <= 0.0 or unit >= 1.0:  # exact ends, whatever exp() rounds to
        return low if unit <= 0.0 else high
    value = low * (high / low) ** unit if parameter.log else low + unit * (high - low)
    # Twelve digits: a default of 0.3 comes back as 0.3, not as 0.29999999999999993.
    return min(max(float(f"{value:.12g}"), low), high)


def is_among(column: NDArray[np.float64], codes: NDArray[np.float64]) -> Mask:
    """Which entries of a column are one of some codes; NaN is none."""
    if len(codes) == 1:
        return np.asarray(np.abs(column - codes[0]) < 1e-12)
    return np.asarray((np.abs(column[:, None] - codes[None, :]) < 1e-12).any(axis=1))


def nearest(codes: NDArray[np.float64], column: NDArray[np.float64]) -> NDArray[np.intp]:
    """Level of the code nearest to each entry of a column; ``codes`` ascend."""
    if len(codes) == 1:
        return np.zeros(len(column), dtype=np.intp)
    middles = (codes[1:] + codes[:-1]) / 2
    return np.searchsorted(middles, column)
