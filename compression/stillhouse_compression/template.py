"""A schedule with search tags: its parameters, and with a config a plain schedule.

Depends on: template_parser, search_space, rendering.
Knows nothing of networks, training or the optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from stillhouse_compression.parameters import Parameter
from stillhouse_compression.rendering import Rendered, Renderer
from stillhouse_compression.safe_yaml import Value
from stillhouse_compression.search_space import Clause, SearchSpace
from stillhouse_compression.template_errors import TemplateErrors
from stillhouse_compression.template_parser import read
from stillhouse_compression.template_text import TemplateText
from stillhouse_compression.template_tree import Block, Tree


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

    def render(self, config: Mapping[str, Any]) -> Rendered:
        """Make the plain schedule of a config; exact, and never of another config.

        Args:
            config: The active parameters' values.

        Raises:
            TemplateErrors: A value is unknown, missing, inactive, outside its range or
                forbidden; every problem at the parameter's name.
        """
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
        return Rendered(schedule, plain_training, taken, (), origins)


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
