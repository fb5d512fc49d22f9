"""What can be known to be wrong with a study whose trials are run outside, before one is asked for.

Depends on: stillhouse_compression.template, stillhouse_optimizer.
"""

from __future__ import annotations

import re
from typing import Any

from stillhouse_compression.template import parse_template
from stillhouse_compression.template.errors import TemplateErrors
from stillhouse_optimizer.errors import ProblemError
from stillhouse_optimizer.space import Space
from stillhouse_optimizer.spec import Constraint, reference_point
from stillhouse_optimizer.spec import Problem as SearchProblem
from stillhouse_service.checks import located, search_problem
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.schemas import StudySpec, TimingIn

METRIC = re.compile(r"[A-Za-z_]\w{0,99}", re.ASCII)
_NOT_HERE = "a study whose trials are run outside has none: leave it out"


def check_outside(spec: StudySpec) -> dict[str, Any]:
    """Find everything that is wrong with such a study.

    Args:
        spec: The study as sent, of runner `outside`.

    Returns:
        The search space as JSON: `parameters`, `forbidden`.

    Raises:
        SpecRejected: With every problem, each at its path in the spec.
    """
    default: dict[str, Any] = {"engine": "stillhouse", "timing": TimingIn(), "parallel": 1}
    default |= {"probe": False, "early_stop": "off", "fidelity": None}
    given = {name: getattr(spec, name) != value for name, value in default.items()}
    given |= {"baseline": spec.baseline is not None, "device": spec.device is not None}
    given["budget.compute_s"] = spec.budget.compute_s is not None
    problems = [Problem(name, _NOT_HERE) for name, is_given in given.items() if is_given]
    for i, metric in enumerate(spec.objectives):
        if METRIC.fullmatch(metric) is None:
            message = f"must be a name like `loss` or `latency_ms`, got {metric!r}"
            problems.append(Problem(f"objectives[{i}]", message))
    problems += _constraint_problems(spec)
    search, space_problems = _space_of(spec)
    problems += space_problems
    if not space_problems:
        # Limits have been looked at already, each by itself.
        whole = search_problem({**spec.model_dump(), "constraints": []}, search)
        try:
            Space(SearchProblem.from_mapping(whole))
        except ProblemError as error:
            message = str(error).removeprefix(f"{error.field}: ")
            problems.append(Problem(error.field, message))
    if not problems and len(spec.objectives) > 1:
        whole = search_problem(spec.model_dump(), search)
        try:
            reference_point(SearchProblem.from_mapping(whole))
        except ProblemError as error:
            message = str(error).removeprefix(f"{error.field}: ")
            problems.append(Problem(error.field, message))
    if problems:
        raise SpecRejected(problems)
    return search


def _space_of(spec: StudySpec) -> tuple[dict[str, Any], list[Problem]]:
    if (spec.parameters is None) == (not spec.template):
        message = "wanted a template, or the space as plain `parameters`, one of them"
        return {}, [Problem("parameters", message)]
    if spec.parameters is not None:
        problems = []
        if spec.training:
            problems.append(Problem("training", "goes with a template; leave it out"))
        return {"parameters": spec.parameters, "forbidden": spec.forbidden or []}, problems
    if spec.forbidden is not None:
        return {}, [Problem("forbidden", "goes with `parameters`; a template has `forbid:`")]
    try:
        return parse_template(spec.template, spec.training).to_problem(), []
    except TemplateErrors as error:
        return {}, [located(found) for found in error.problems]


def _constraint_problems(spec: StudySpec) -> list[Problem]:
    problems = []
    for i, text in enumerate(spec.constraints):
        path = f"constraints[{i}]"
        try:
            is_relative = Constraint.parse(text, path).is_relative
        except ProblemError as error:
            problems.append(Problem(path, str(error).removeprefix(f"{path}: ")))
            continue
        if is_relative:
            message = "there is no baseline to compare with: write the number itself"
            problems.append(Problem(path, message))
    return problems
