"""Reads a schedule's mapping, finds everything that is wrong with it, all at once.

``check_schedule`` is the door for others: problems of a mapping against a network,
without training.

Depends on: torch (for the parameters' names and shapes), registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from stillhouse_compression.errors import Problem, nearest, shown
from stillhouse_compression.schedule import registry
from stillhouse_compression.schedule.arguments import ClassSpec, Shapes, default, number, text
from stillhouse_compression.schedule.policy_reading import WINDOW_KEYS, PolicyReader
from stillhouse_compression.schedule.schedule import (
    SECTIONS,
    Component,
    DistillationEntry,
    Schedule,
)
from stillhouse_compression.schedule.window import ALWAYS, Window

TOP_LEVEL = ("version", *SECTIONS, "quantizers", "policies", "distillation")


def shapes_of(model: nn.Module | Shapes) -> Shapes:
    """Parameter name -> shape, of a network or as given."""
    if isinstance(model, nn.Module):
        return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    return model


def check_schedule(
    mapping: Mapping[str, Any], model: nn.Module | Shapes, *, strict: bool = True
) -> list[Problem]:
    """Everything that is wrong with a plain schedule for a network.

    Args:
        mapping: The schedule, as YAML's safe loader gives it; it is not changed.
        model: The network, or a mapping of its parameters' names to their shapes.
        strict: Unknown parameter names and ``args`` are problems too.

    Returns:
        Problems in document order, each with its YAML path; empty when it can run.
    """
    return read_schedule(mapping, model, strict=strict)[1]


def read_schedule(
    mapping: Mapping[str, Any], model: nn.Module | Shapes, *, strict: bool = True
) -> tuple[Schedule, list[Problem]]:
    """The schedule that a mapping means, and what is wrong with it.

    Returns:
        The schedule (of its sound parts only, if there are problems) and the problems.
    """
    reader = _Reader(shapes_of(model), strict)
    schedule = reader.read(mapping)
    return schedule, reader.problems


class _Reader(PolicyReader):
    """Walks one document and gathers problems on the way."""

    def read(self, mapping: object) -> Schedule:
        if not isinstance(mapping, Mapping):
            self.fault("", f"found {shown(mapping)}, wanted a mapping with pruners, policies, ...")
            return Schedule({}, ())
        for key in mapping:
            if key not in TOP_LEVEL:
                allowed = ", ".join(TOP_LEVEL)
                self.tolerate(str(key), f"unknown key; allowed: {allowed}{nearest(key, TOP_LEVEL)}")
        if mapping.get("quantizers"):
            self.fault(
                "quantizers",
                "this engine does not quantize: it prunes, regularises, thins and distils; "
                "take the section and its policies out",
            )
        components = {section: self._section(section, mapping) for section in SECTIONS}
        policies = self.policies(mapping, components)
        distillation = None
        if mapping.get("distillation") is not None:
            distillation = self._distillation(mapping["distillation"])
        return Schedule(components, policies, distillation, tuple(self.warnings))

    # Instances ------------------------------------------------------------------------

    def _section(self, section: str, mapping: Mapping[str, Any]) -> dict[str, Component]:
        entries = mapping.get(section)
        if entries is None:
            return {}
        if not isinstance(entries, Mapping):
            self.fault(
                section, f"found {shown(entries)}, wanted a mapping of instance names to classes"
            )
            return {}
        found: dict[str, Component] = {}
        for name, entry in entries.items():
            component = self._component(section, name, entry)
            if component is not None:
                found[str(name)] = component
        return found

    def _component(self, section: str, name: object, entry: object) -> Component | None:
        path = f"{section}.{name}"
        if not isinstance(name, str | int) or isinstance(name, bool):
            self.fault(path, f"found {shown(name)} as an instance name, wanted text")
            return None
        if not isinstance(entry, Mapping):
            self.fault(path, f"found {shown(entry)}, wanted a mapping with class and arguments")
            return None
        spec = self._spec(section, path, entry)
        if spec is None:
            return None
        given = {key: value for key, value in entry.items() if key != "class"}
        arguments = self.arguments(path, given, spec.arguments, spec.name)
        if arguments is None:
            return None
        faults = list(spec.faults(arguments)) or list(spec.fits(arguments, self.shapes))
        for argument, message in faults:
            self.fault(f"{path}.{argument}", message)
        return Component(str(name), spec, arguments)

    def _spec(self, section: str, path: str, entry: Mapping[str, Any]) -> ClassSpec | None:
        allowed = registry.names(section)
        if "class" not in entry:
            self.fault(path, f"no class given; allowed: {', '.join(allowed)}")
            return None
        name = entry["class"]
        if isinstance(name, str) and name in allowed:
            return registry.find(section, name)
        where = registry.section_of(name) if isinstance(name, str) else None
        if where is not None:
            self.fault(f"{path}.class", f"{name} belongs under {where}, not under {section}")
        elif isinstance(name, str) and name in registry.REFUSED:
            self.fault(f"{path}.class", f"{name} is refused: {registry.REFUSED[name]}")
        else:
            self.fault(
                f"{path}.class",
                f"unknown class {shown(name)}; allowed: {', '.join(allowed)}"
                f"{nearest(name, allowed)}",
            )
        return None

    # Distillation ---------------------------------------------------------------------

    def _distillation(self, entry: object) -> DistillationEntry | None:
        path = "distillation"
        if not isinstance(entry, Mapping):
            self.fault(path, f"found {shown(entry)}, wanted a mapping with teacher, temperature")
            return None
        window: Window | None = ALWAYS
        given = {key: value for key, value in entry.items() if key not in WINDOW_KEYS}
        if len(given) < len(entry):
            window = self.window(path, entry)
        weights = given.pop("weights", None)
        wanted = (
            default("teacher", text, "initial"),
            default("temperature", number(0.0, open_low=True), 1.0),
        )
        checked = self.arguments(path, given, wanted, "distillation")
        weight = self.arguments(
            f"{path}.weights",
            weights if isinstance(weights, Mapping) else {},
            (
                default("distill", number(0.0), 0.5),
                default("student", number(0.0), 0.5),
                default("teacher", number(0.0, 0.0), 0.0),
            ),
            "weights",
        )
        if weights is not None and not isinstance(weights, Mapping):
            self.fault(f"{path}.weights", f"found {shown(weights)}, wanted distill and student")
            return None
        if window is None or checked is None or weight is None:
            return None
        return DistillationEntry(
            checked["teacher"],
            checked["temperature"],
            weight["distill"],
            weight["student"],
            window,
        )
