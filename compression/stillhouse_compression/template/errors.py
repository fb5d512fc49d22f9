"""What is wrong with a template: every problem at once, each at its YAML path.

Depends on: errors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stillhouse_compression.errors import CompressionError, Problem

MAX_PROBLEMS = 100  # nobody reads more, and hostile text would make thousands


@dataclass(frozen=True)
class Place:
    """Where something stands in the text.

    Attributes:
        path: YAML path; empty for the template as a whole.
        line: From 1.
        column: From 1.
    """

    path: str
    line: int
    column: int


class TemplateErrors(CompressionError):
    """A template, its training section or a config for it is refused.

    Attributes:
        problems: Everything that is wrong, each with its YAML path.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Findings:
    """Collects problems while a template is read, so that all are told at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.n_found = 0

    def add(self, place: Place, message: str) -> None:
        """Note a problem at a place of the text; the same one twice counts once."""
        self.n_found += 1
        problem = Problem(place.path, f"{message} (line {place.line}, column {place.column})")
        if problem not in self.problems and len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def raise_if_any(self) -> None:
        """End the reading where something was found.

        Raises:
            TemplateErrors: With every problem noted so far.
        """
        if self.problems:
            raise TemplateErrors(self.problems)
