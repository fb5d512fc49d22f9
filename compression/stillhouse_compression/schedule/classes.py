"""Pruners and regularisers in code, under the original's names and arguments.

Depends on: torch, registry, argument_reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from stillhouse_compression.errors import CompressionError, Problem, ScheduleError
from stillhouse_compression.schedule import registry
from stillhouse_compression.schedule.argument_reading import ArgumentReader
from stillhouse_compression.schedule.arguments import Arguments, Building, ClassSpec, Shapes
from stillhouse_compression.schedule.reading import shapes_of


def class_of(class_name: str) -> Callable[..., Any] | None:
    """What makes a pruner or regulariser of that name; None: there is none.

    It is called as the original's constructor, with the arguments of a schedule:
    ``L1RankedStructureParameterPruner("p", group_type="Filters", desired_sparsity=0.5,
    weights=["conv1.weight"])``. With ``model=`` names are checked and patterns expanded;
    without, parameters are those exactly so named.
    """
    section = registry.section_of(class_name)
    if section not in ("pruners", "regularizers"):
        return None
    spec = registry.find(section, class_name)

    def make(name: str, *, model: nn.Module | None = None, **arguments: Any) -> Any:
        return _make(spec, name, model, arguments)

    make.__name__ = make.__qualname__ = class_name
    make.__doc__ = f"Make a {class_name} from the arguments that it has in a schedule."
    return make


def _make(spec: ClassSpec, name: str, model: nn.Module | None, given: Arguments) -> Any:
    shapes = _named(spec, given) if model is None else shapes_of(model)
    reader = ArgumentReader(shapes, strict=True)
    arguments = reader.arguments(name, given, spec.arguments, spec.name)
    problems = list(reader.problems)
    if arguments is not None:
        faults = list(spec.faults(arguments))
        if model is not None and not faults:
            faults = list(spec.fits(arguments, shapes))
        problems += [Problem(f"{name}.{argument}", message) for argument, message in faults]
    if problems or arguments is None:
        raise ScheduleError(problems)
    try:
        return spec.build(name, arguments, Building(model))
    except CompressionError as error:
        raise ScheduleError([Problem(name, str(error))]) from error


def _named(spec: ClassSpec, given: Arguments) -> Shapes:
    """The parameters that arguments name, without a network that would have them."""
    found: dict[str, tuple[int, ...]] = {}
    for argument in spec.arguments:
        value = given.get(argument.name)
        if argument.names != "none" and isinstance(value, list | tuple | Mapping):
            found.update({str(name): () for name in value if name != "*"})
        elif argument.names == "list" and isinstance(value, str):
            found[value] = ()
    return found
