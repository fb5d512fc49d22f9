"""A template against a network: dry-rendered at default, extremes and every branch.

Depends on: torch (through the schedule's check), template, reading, fitting. Trains nothing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping

from torch import nn

from stillhouse_compression.errors import Problem, SettingsError
from stillhouse_compression.fitting import fit_problems
from stillhouse_compression.original import Engine, distiller_problems
from stillhouse_compression.schedule.arguments import Shapes
from stillhouse_compression.schedule.reading import check_schedule, shapes_of
from stillhouse_compression.template.parameters import Config
from stillhouse_compression.template.rendering import Rendered
from stillhouse_compression.template.template import Template
from stillhouse_compression.training import TrainingSettings

MAX_RENDERINGS = 1000
MAX_PLACES = 1_000_000  # rendered in all: a large template is tried at fewer configs
_LAST_PART = re.compile(r"(\.[^.\[]*|\[[^\[]*\]|^[^.\[]*)$")


def dry_run(
    template: Template,
    model: nn.Module | Shapes,
    training_check: Callable[[object], list[Problem]],
    engine: Engine = "stillhouse",
) -> list[Problem]:
    """Find what is wrong with a template's schedules for a network.

    Args:
        template: The template.
        model: The network, or its parameters' names and shapes.
        training_check: Tells what is wrong with a plain training section.
        engine: Whose scheduler will run the schedules.

    Returns:
        Each problem once, at its path in the template; empty where every schedule that was
        tried can run. Values between the extremes are not tried.
    """
    shapes = shapes_of(model)
    default = template.default_config()
    told: list[Problem] = []
    seen: set[str] = set()
    n_places = 0
    for config in itertools.islice(_dry_configs(template), MAX_RENDERINGS):
        rendered = template.render(config)
        n_places += len(rendered.origins)
        if n_places > MAX_PLACES:
            break
        branch = _branch(config, default, template)
        wrong = [*check_schedule(rendered.schedule, shapes), *training_check(rendered.training)]
        wrong += _misfits(rendered)
        if engine == "distiller":
            wrong += distiller_problems(rendered.schedule)
        problems = [_at_template(problem, rendered, branch) for problem in wrong]
        # The same place with another value of its range is the same problem.
        fresh = [problem for problem in dict.fromkeys(problems) if problem.path not in seen]
        told.extend(fresh)
        seen.update(problem.path for problem in fresh)
    return told


def _dry_configs(template: Template) -> Iterator[Config]:
    yield from template.space.extremes()
    yield from template.space.opposed()


def _misfits(rendered: Rendered) -> list[Problem]:
    """Find policies that act too late for the training they run in."""
    try:
        settings = TrainingSettings.from_mapping(rendered.training)
    except SettingsError:
        return []  # told by the training's own check
    found = fit_problems(rendered.schedule, settings)
    late = {problem.path.partition(".")[0] for problem in found}
    n_epochs = settings.total_epochs
    policies = rendered.schedule.get("policies")
    for index, policy in enumerate(policies if isinstance(policies, list) else ()):
        if not isinstance(policy, Mapping) or f"policies[{index}]" in late:
            continue
        key = "epochs" if isinstance(policy.get("epochs"), list) else "starting_epoch"
        starts = policy[key] if key == "epochs" else [policy.get(key)]
        whole = [start for start in starts if isinstance(start, int)]
        if whole and len(whole) == len(starts) and min(whole) >= n_epochs:
            message = (
                f"starts in epoch {min(whole)}, but training has {n_epochs} epochs, recovery "
                "included: it would never act; tie it with !ref {name: training.epochs, …}"
            )
            found.append(Problem(f"policies[{index}].{key}", message))
    return found


def _branch(config: Config, default: Config, template: Template) -> str:
    """Word the choices that differ from the default config."""
    differing = [
        f"{name} = {value}"
        for name, value in config.items()
        if not template.space.by_name[name].is_range and default.get(name, config) != value
    ]
    return f" when {', '.join(differing)}" if differing else ""


def _at_template(problem: Problem, rendered: Rendered, branch: str) -> Problem:
    """Move a problem from the rendered schedule to the template's own place."""
    path, place = problem.path, rendered.origins.get(problem.path)
    while place is None and path:
        path = _LAST_PART.sub("", path)
        place = rendered.origins.get(path)
    rest = problem.path[len(path) :]
    if place is None or not path:
        return Problem(problem.path, f"{problem.message}{branch}")
    where = f" (line {place.line}, column {place.column})"
    return Problem(f"{place.path}{rest}", f"{problem.message}{branch}{where}")
