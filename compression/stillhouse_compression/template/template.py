"""A schedule with search tags: its parameters, and with a config a plain schedule.

Depends on: parser, search_space, rendering.
Knows nothing of networks, training or the optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from stillhouse_compression.errors import Problem
from stillhouse_compression.template.errors import TemplateErrors
from stillhouse_compression.template.parameters import Parameter
from stillhouse_compression.template.parser import read
from stillhouse_compression.template.rendering import Rendered, Renderer
from stillhouse_compression.template.safe_yaml import Value
from stillhouse_compression.template.search_space import Clause, SearchSpace
from stillhouse_compression.template.text import TemplateText
from stillhouse_compression.template.tree import Block, Tree

if TYPE_CHECKING:
    from torch import nn

    from stillhouse_compression.original import Engine
    from stillhouse_compression.schedule.arguments import Shapes


@dataclass(frozen=True)
class Template:
    """A template and its training section, read and checked.

    Attributes:
        schedule: The tree of the schedule.
        training: The tree of the training section.
        space: Its parameters and what is forbidden.
        targets: What references may name.
    """

    schedule: Block
    training: Block
    space: SearchSpace
    targets: Mapping[str, Tree]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What may vary, in the text's order."""
        return self.space.parameters

    @property
    def forbidden(self) -> tuple[Clause, ...]:
        """Combinations that are not allowed: name -> values, all at once."""
        return self.space.forbidden

    def default_config(self) -> dict[str, Value]:
        """Give every active parameter's default."""
        return self.space.default_config()

    def sample_config(self, rng: Random) -> dict[str, Value]:
        """Draw an allowed config."""
        return self.space.sample(rng)

    def extremes(self) -> list[dict[str, Value]]:
        """Give the configs worth a dry run: default, all low, all high, every branch."""
        return self.space.extremes()

    def to_problem(self) -> dict[str, Any]:
        """Give the search space as JSON, as it crosses to the optimizer."""
        return {
            "parameters": [parameter.to_json() for parameter in self.parameters],
            "forbidden": [
                {name: list(values) for name, values in clause.items()} for clause in self.forbidden
            ],
        }

    def to_yaml(self) -> str:
        """Write the template: parsed again it is equal; comments are not kept."""
        return TemplateText(self.space).write(self.schedule, with_forbid=True)

    def training_to_yaml(self) -> str:
        """Write the training section likewise."""
        return TemplateText(self.space).write(self.training, with_forbid=False)

    def render(
        self,
        config: Mapping[str, Any],
        model: nn.Module | Shapes | None = None,
        dialect: Literal["stillhouse", "original"] = "stillhouse",
    ) -> Rendered:
        """Make the plain schedule of a config; exact, and never of another config.

        Args:
            config: The active parameters' values.
            model: A network, or its parameters' names and shapes: patterns of names are written
                out for it. None leaves patterns as they are.
            dialect: ``original`` writes for the original Distiller; what could not be said there
                stands in `Rendered.notes`.

        Raises:
            TemplateErrors: A value is unknown, missing, inactive, outside its range or
                forbidden, every problem at the parameter's name; or there is no such dialect.
        """
        if dialect not in ("stillhouse", "original"):
            message = f"no dialect {dialect!r}; there are stillhouse and original"
            raise TemplateErrors([Problem("dialect", message)])
        taken, problems = self.space.admit(config)
        if problems:
            raise TemplateErrors(problems)
        renderer = Renderer(taken, self.targets)
        schedule = renderer.fill(self.schedule)
        training = Renderer(taken, self.targets)
        plain_training = training.fill(self.training)
        if not isinstance(schedule, dict) or not isinstance(plain_training, dict):
            raise AssertionError("the roots of a template are mappings")
        origins = renderer.origins | {
            f"training.{path}" if path else "training": place
            for path, place in training.origins.items()
        }
        rendered = Rendered(schedule, plain_training, taken, (), origins)
        if model is None and dialect == "stillhouse":
            return rendered
        # Both need the registry of classes, which a template alone can do without.
        from stillhouse_compression.schedule.reading import shapes_of
        from stillhouse_compression.template.dialect import OriginalDialect
        from stillhouse_compression.template.expansion import expand_names

        shapes = None if model is None else shapes_of(model)
        if dialect == "original":
            original = OriginalDialect(shapes)
            return rendered.with_schedule(original.translate(schedule), tuple(original.notes))
        return rendered.with_schedule(expand_names(schedule, shapes or {}))


def parse_template(template_yaml: str, training_yaml: str = "") -> Template:
    """Read a template.

    Args:
        template_yaml: A schedule in Distiller's language with search tags, and `forbid:`.
        training_yaml: The study's training section, which takes the same tags.

    Raises:
        TemplateErrors: With every problem at its YAML path, line and column.
    """
    reading = read(template_yaml, training_yaml)
    return Template(reading.schedule, reading.training, reading.space, reading.targets)


def check_against_model(
    template: Template,
    model: nn.Module | Shapes,
    training_check: Callable[[object], list[Problem]] | None = None,
    engine: Engine = "stillhouse",
) -> list[Problem]:
    """Find what is wrong with a template's schedules for a network, without training.

    The template is dry-rendered at its default, its extremes and every branch.

    Args:
        template: The template.
        model: The network, or its parameters' names and shapes.
        training_check: Tells what is wrong with a plain training section; None takes
            `training.check_training`.
        engine: Whose scheduler will run them: ``stillhouse`` or ``distiller``.

    Returns:
        Each problem once, at its path in the template; empty where all that was tried can run.
    """
    # On use: it needs torch, which reading and rendering a template do not.
    from stillhouse_compression.template.check import dry_run
    from stillhouse_compression.training import check_training

    return dry_run(template, model, training_check or check_training, engine)
