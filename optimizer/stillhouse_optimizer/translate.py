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
from stillhouse_optimizer.spec import Problem


def to_configspace(problem: Problem) -> ConfigurationSpace:
    """The problem as a ``ConfigurationSpace``.

    Values of choices, ordinals and stepped ranges stand as their position (``0``, ``1``, ...):
    ConfigSpace cannot tell True from 1 and has no steps. ``in_configspace`` translates a config.
    """
    space = ConfigurationSpace()
    made = {p.name: _hyperparameter(p) for p in problem.parameters}
    space.add(list(made.values()))
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
    space.add(conditions)
    for clause in problem.forbidden:
        parts = [
            ForbiddenInClause(made[name], [_told(by_name[name], value) for value in values])
            for name, values in clause.items()
        ]
        space.add(parts[0] if len(parts) == 1 else ForbiddenAndConjunction(*parts))
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


def _hyperparameter(parameter: Parameter) -> Any:  # ConfigSpace has no common exported type
    n = parameter.n_values
    if parameter.kind == "choice":
        return CategoricalHyperparameter(parameter.name, list(range(n or 0)))
    if parameter.kind == "ordinal" or parameter.step is not None or n == 1:
        return OrdinalHyperparameter(parameter.name, list(range(n or 0)))
    if parameter.kind == "int":
        return UniformIntegerHyperparameter(
            parameter.name, int(parameter.low), int(parameter.high), log=parameter.log
        )
    return UniformFloatHyperparameter(
        parameter.name, parameter.low, parameter.high, log=parameter.log
    )


def _told(parameter: Parameter, value: Value) -> Any:
    """A value as the hyperparameter of ``_hyperparameter`` has it."""
    if parameter.is_listed or parameter.step is not None or parameter.n_values == 1:
        return parameter.level_of(value)
    return value
