"""Schedules with search tags: what may vary in a study, and the schedule a config stands for.

Depends on: PyYAML; torch only to check a template against a network.
"""

from stillhouse_compression.template.errors import TemplateErrors
from stillhouse_compression.template.rendering import Rendered
from stillhouse_compression.template.template import (
    Template,
    check_against_model,
    parse_template,
)

__all__ = ["Rendered", "Template", "TemplateErrors", "check_against_model", "parse_template"]
