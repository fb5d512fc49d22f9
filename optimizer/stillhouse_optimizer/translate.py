"""A problem's space as ConfigSpace sees it, for a second opinion on every config that leaves.

Depends on: ConfigSpace.
"""

from __future__ import annotations

from typing import Any

from ConfigSpace import (
    AndConjunction,
    CategoricalHyperparameter,
    Configuration,
    ConfigurationSpace,
    ForbiddenAndConjunction,
    ForbiddenInClause,
    InCondition,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from ConfigSpace.exceptions import (
    ActiveHyperparameterNotSetError,
    ForbiddenValueError,
    IllegalValueError,
    InactiveHyperparameterSetError,
)

from stillhouse_optimizer.errors import OptimizerError
from stillhouse_optimizer.parameter import Config, Parameter, Value
from stillhouse_optimizer.space import Space
from stillhouse_optimizer.spec import Problem


def to_configspace(problem: Problem) -> ConfigurationSpace:
    """The problem as a ``ConfigurationSpace``.

    Values of choices, ordinals and stepped ranges stand as their position (``0``, ``1``, ...):
    ConfigSpace cannot tell True from 1 and has no steps. ``in_configspace`` translates a config.
    """
    space = ConfigurationSpace()
    # ConfigSpace wants defaults that break no clause.
    arrays = Space(problem)
    legal = arrays.decode(arrays.anchor()[0])
    made = {p.name: _hyperparameter(p, legal.get(p.name, p.default)) for p in problem.parameters}
    by_name = {p.name: p for p in problem.parameters}
    conditions: list[Any] = []
    for parameter in problem.parameters:
        each = [
            InCondition(
                made[parameter.name],
                made[c.parent],
                [_told(by_name[c.parent], value) for value in c.values],
            )
            for c in parameter.conditions
        ]
        if each:
            conditions.append(each[0] if len(each) == 1 else AndConjunction(*each))
    clauses: list[Any] = []
    for clause in problem.forbidden:
        parts = [
            ForbiddenInClause(made[name], [_told(by_name[name], value) for value in values])
            for name, values in clause.items()
        ]
        clauses.append(parts[0] if len(parts) == 1 else ForbiddenAndConjunction(*parts))
    # At once: with every addition ConfigSpace sorts and checks all that is there.
    space.add([*made.values(), *conditions, *clauses])
    return space


def in_configspace(problem: Problem, config: Config) -> dict[str, Any]:
    """A config in the values that ``to_configspace`` uses."""
    by_name = {p.name: p for p in problem.parameters}
    return {name: _told(by_name[name], value) for name, value in config.items()}


class LegalityCheck:
    """Refuses configs that ConfigSpace refuses."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._space = to_configspace(problem)

    def __call__(self, config: Config) -> None:
        """Check one config.

        Raises:
            OptimizerError: it is illegal: a defect of this package.
        """
        try:
            Configuration(self._space, values=in_configspace(self._problem, config))
        except (
            ActiveHyperparameterNotSetError,
            ForbiddenValueError,
            IllegalValueError,
            InactiveHyperparameterSetError,
        ) as error:
            raise OptimizerError(f"proposed an illegal config {dict(config)}: {error}") from error


def _hyperparameter(parameter: Parameter, default: Value) -> Any:  # no common exported type
    n, name, told = parameter.n_values, parameter.name, _told(parameter, default)
    if parameter.kind == "choice":
        return CategoricalHyperparameter(name, list(range(n or 0)), default_value=told)
    if parameter.kind == "ordinal" or parameter.step is not None or n == 1:
        return OrdinalHyperparameter(name, list(range(n or 0)), default_value=told)
    low, high, log = parameter.low, parameter.high, parameter.log
    if parameter.kind == "int":
        return UniformIntegerHyperparameter(name, int(low), int(high), told, log=log)
    return UniformFloatHyperparameter(name, low, high, told, log=log)


def _told(parameter: Parameter, value: Value) -> Any:
    """A value as the hyperparameter of ``_hyperparameter`` has it."""
    if parameter.is_listed or parameter.step is not None or parameter.n_values == 1:
        return parameter.level_of(value)
    return value
