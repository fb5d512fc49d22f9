"""What can be known to be wrong with a study before anything is trained.

Depends on: stillhouse_compression.template, stillhouse_optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from stillhouse_compression.errors import Problem as Found
from stillhouse_compression.template import Template, check_against_model, parse_template
from stillhouse_compression.template.errors import TemplateErrors
from stillhouse_optimizer.errors import ProblemError
from stillhouse_optimizer.spec import Constraint
from stillhouse_optimizer.spec import Problem as SearchProblem
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.objectives import (
    METRICS,
    OF_BASELINE,
    RANGES,
    TIMED,
    constraints_of,
    reference_of,
)
from stillhouse_service.schemas import StudySpec
from stillhouse_service.states import BaselineState
from stillhouse_service.tables import BaselineRow

# OpenVINO's device kinds; any other kind is known once a host has offered it.
DEVICE_KINDS = frozenset({"CPU", "GPU", "NPU", "MYRIAD", "HDDL", "GNA"})


def check_study(
    spec: StudySpec,
    baseline: BaselineRow | None,
    known_devices: Set[str],
    computes_here: bool = True,
) -> dict[str, Any]:
    """Find everything that is wrong with a study.

    Args:
        spec: The study as sent.
        baseline: The baseline it names, if there is one.
        known_devices: Kinds and ids of devices offered so far.
        computes_here: Whether trials are compressed by this installation.

    Returns:
        The search space as JSON: `parameters`, `forbidden`.

    Raises:
        SpecRejected: With every problem, each at its path in the spec.
    """
    problems: list[Problem] = []
    usable = None
    for name, given in (("parameters", spec.parameters), ("forbidden", spec.forbidden)):
        if given is not None:
            message = "a study that this server runs has a template instead"
            problems.append(Problem(name, message))
    if spec.baseline is None:
        message = "missing; only a study of runner `outside` has none"
        problems.append(Problem("baseline", message))
    elif baseline is None:
        problems.append(Problem("baseline", f"no baseline {spec.baseline!r}"))
    elif baseline.state != BaselineState.COMPLETE:
        message = f"baseline {baseline.id} is {baseline.state}; a study needs a complete one"
        problems.append(Problem("baseline", message))
    else:
        usable = baseline
    if spec.device is None:
        problems.append(Problem("device", "missing; only a study of runner `outside` has none"))
    elif spec.device not in DEVICE_KINDS | known_devices:
        known = ", ".join(sorted(DEVICE_KINDS | known_devices))
        problems.append(Problem("device", f"no device {spec.device!r}; known are {known}"))
    for i, objective in enumerate(spec.objectives):
        if objective not in METRICS:
            message = f"no metric {objective!r}; there are {', '.join(METRICS)}"
            problems.append(Problem(f"objectives[{i}]", message))
    problems += _constraint_problems(spec, usable)
    problems += _switch_problems(spec)
    problems += _image_problems(spec, usable)
    if spec.engine == "distiller" and computes_here:
        from stillhouse_compression.original import missing_distiller  # on use: it loads torch

        if (missing := missing_distiller()) is not None:
            problems.append(Problem("engine", missing))
    template, template_problems = _template_of(spec, usable)
    if not spec.template:
        template_problems = [Problem("template", "missing")]
    problems += template_problems
    search: dict[str, Any] = {}
    if template is not None:
        search = template.to_problem()
        if not problems:
            try:
                SearchProblem.from_mapping(search_problem(spec.model_dump(), search))
            except ProblemError as error:
                problems.append(Problem(error.field, str(error)))
    if problems:
        raise SpecRejected(problems)
    return search


def search_problem(
    spec: Mapping[str, Any],
    search: Mapping[str, Any],
    measured: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Put a stored spec and its search space together as the optimizer reads them.

    Args:
        spec: The spec.
        search: Its search space.
        measured: The study's `baseline_measurement`, which relative limits are held against; None
            leaves them relative.
    """
    limits: Sequence[object] = spec["constraints"]
    if measured is not None:
        limits = [asdict(constraint) for constraint in constraints_of(spec, measured)]
    problem = {
        **search,
        "objectives": spec["objectives"],
        "constraints": limits,
        "surrogate": spec["surrogate"],
    }
    if len(spec["objectives"]) > 1 or spec.get("reference"):
        problem["reference"] = reference_of(spec, measured)
    n_initial = spec["optimizer"]["n_initial"]
    return problem | ({} if n_initial is None else {"n_initial": n_initial})


def _constraint_problems(spec: StudySpec, baseline: BaselineRow | None) -> list[Problem]:
    problems = []
    for i, text in enumerate(spec.constraints):
        path = f"constraints[{i}]"
        try:
            constraint = Constraint.parse(text, path)
        except ProblemError as error:
            problems.append(Problem(path, str(error).removeprefix(f"{path}: ")))
            continue
        if constraint.metric not in METRICS:
            message = f"no metric {constraint.metric!r}; there are {', '.join(METRICS)}"
            problems.append(Problem(path, message))
        elif (reason := _impossible(constraint, baseline)) is not None:
            problems.append(Problem(path, f"wants {constraint}, but {reason}"))
    return problems


def _switch_problems(spec: StudySpec) -> list[Problem]:
    """Find switches that could do nothing in this study."""
    problems = []
    if spec.probe and (len(spec.objectives) != 1 or spec.objectives[0] not in TIMED):
        message = (
            f"a probe times networks; the objective must be one of {', '.join(TIMED)} alone, "
            f"got {', '.join(spec.objectives)}"
        )
        problems.append(Problem("probe", message))
    if spec.fidelity is not None:
        if spec.early_stop != "off":
            message = "does not go with `fidelity`: rungs end trainings already"
            problems.append(Problem("early_stop", message))
        if len(spec.objectives) != 1:
            message = f"goes with one objective, got {', '.join(spec.objectives)}"
            problems.append(Problem("fidelity", message))
        if "recovery_epochs:" in spec.training:
            message = "the rungs say how many recovery epochs there are; leave them out of training"
            problems.append(Problem("fidelity", message))
    if spec.early_stop != "off":
        limits = []
        for text in spec.constraints:
            with suppress(ProblemError):  # told already
                limits.append(Constraint.parse(text))
        if not any(
            (limit.metric == "top1" and not limit.is_upper)
            or (limit.metric == "top1_drop" and limit.is_upper)
            for limit in limits
        ):
            message = "needs a limit on accuracy, such as `top1_drop <= 0.02`"
            problems.append(Problem("early_stop", message))
    return problems


def _image_problems(spec: StudySpec, baseline: BaselineRow | None) -> list[Problem]:
    """Hold the images of the rungs against the validation split."""
    images = spec.fidelity.validation_images if spec.fidelity is not None else None
    if images is None or baseline is None:
        return []
    from stillhouse_compression import datasets  # on use: it loads torch

    info = datasets.dataset_info(baseline.dataset)
    low, high = info.n_classes, info.splits["validation"] - 1
    return [
        Problem(
            f"fidelity.validation_images[{rung}]",
            f"must lie between {low} (one of each class) and {high}: the validation split of "
            f"{baseline.dataset} has {high + 1}, got {n}",
        )
        for rung, n in enumerate(images)
        if not low <= n <= high
    ]


def _impossible(constraint: Constraint, baseline: BaselineRow | None) -> str | None:
    """Say why no trial could ever meet a constraint; none: some might."""
    if constraint.is_relative:
        if constraint.metric not in OF_BASELINE:
            return f"{constraint.metric} compares with the baseline already"
        return None if constraint.bound > 0 else "a share of the baseline's must be above 0"
    low, high = RANGES.get(constraint.metric, (0.0, math.inf))
    best = low if constraint.is_upper else high
    if not constraint.is_met(best):
        return f"{constraint.metric} lies between {low:g} and {high:g}"
    if baseline is None:
        return None
    reached = float(baseline.metrics["validation_top1"])
    if constraint.metric == "top1" and not constraint.is_upper and not constraint.is_met(reached):
        return f"the baseline itself reaches {reached:.4f}"
    if constraint.metric == "top1_drop" and not constraint.is_met(reached - 1.0):
        return f"even without a mistake it is {reached - 1.0:.4f}"
    return None


def _template_of(
    spec: StudySpec, baseline: BaselineRow | None
) -> tuple[Template | None, list[Problem]]:
    """Read the template, and hold it against the baseline's network where that is known."""
    try:
        template = parse_template(spec.template, spec.training)
    except TemplateErrors as error:
        return None, [located(found) for found in error.problems]
    if baseline is None:
        return template, []
    from stillhouse_compression import datasets, models  # on use: they load torch

    n_classes = datasets.dataset_info(baseline.dataset).n_classes
    model = models.build(baseline.model, n_classes)
    found = check_against_model(template, model, engine=spec.engine)
    return template, [located(one) for one in found]


def located(found: Found) -> Problem:
    """Give a template's problem its path in the spec."""
    is_training = found.path == "training" or found.path.startswith(("training.", "training["))
    path = found.path if is_training else f"template.{found.path}".rstrip(".")
    return Problem(path, found.message)
