"""A study's parameters in groups that people think in: layers, stages, algorithms, parts.

Depends on: stillhouse_compression.template. What a parameter prunes is read off the schedules that
the template makes at its corners; a parameter may be in several groups of one kind.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from stillhouse_compression.template import parse_template
from stillhouse_compression.template.errors import TemplateErrors
from stillhouse_compression.template.template import Template

_log = logging.getLogger(__name__)

KINDS = ("part", "algorithm", "stage", "layer")
_SECTIONS = ("pruners", "regularizers", "quantizers")
# What a policy says of time; also where an instance or the training says it.
_TIMING = frozenset(
    {"starting_epoch", "ending_epoch", "frequency", "epochs", "initial_epoch", "final_epoch"}
)
_CHOICE = "choice of algorithm"
_ALGORITHM = frozenset({"class", "group_type", "group_dependency"})

Groups = Mapping[str, Mapping[str, Sequence[str]]]


@lru_cache(maxsize=64)
def groups_of(template_yaml: str, training_yaml: str) -> Groups:
    """Group the parameters of a stored template.

    Returns:
        Kind -> group -> names of parameters, in the template's order: ``part`` (training, schedule
        timing, how much goes, choice of algorithm), ``algorithm`` (class of pruner or
        regularizer), ``stage`` (first component of a layer's name) and ``layer``; layers that the
        same parameters act on are one group. Kinds without a group are left out.
    """
    try:
        template = parse_template(template_yaml, training_yaml)
    except TemplateErrors as error:  # written by an earlier version, which allowed it
        _log.warning("parameters are shown without groups: %s", error)
        return {}
    acts = _acts(template)
    found: dict[str, dict[str, list[str]]] = {kind: {} for kind in KINDS}
    for parameter in template.parameters:
        name = parameter.name
        path = name.split(".")
        is_choice = path[0] in _SECTIONS and (len(path) == 2 or path[-1] in _ALGORITHM)
        for kind, groups in (
            ("part", [_part(name, is_choice)]),
            ("algorithm", [_CHOICE] if is_choice else acts["class"].get(name, ())),
            ("stage", [layer.split(".")[0] for layer in acts["layer"].get(name, ())]),
            ("layer", acts["layer"].get(name, ())),
        ):
            for group in dict.fromkeys(groups):
                found[kind].setdefault(group, []).append(name)
    found["layer"] = _merged(found["layer"])
    return {kind: groups for kind, groups in found.items() if groups}


def _acts(template: Template) -> dict[str, dict[str, list[str]]]:
    """Class and layers that each parameter acts on, where it is active."""
    acts: dict[str, dict[str, list[str]]] = {"class": {}, "layer": {}}
    for config in template.extremes():
        schedule = template.render(config).schedule
        policies = schedule.get("policies") or []
        for name in config:
            for instance in _instances(schedule, policies, name):
                for what, values in (
                    ("class", [str(instance.get("class", ""))]),
                    ("layer", [_layer(weight) for weight in _weights(instance)]),
                ):
                    known = acts[what].setdefault(name, [])
                    known += [value for value in values if value and value not in known]
    return acts


def _instances(
    schedule: Mapping[str, Any], policies: Sequence[Mapping[str, Any]], name: str
) -> Iterator[Mapping[str, Any]]:
    """The schedule's entries that a parameter, by its path, belongs to."""
    wanted = _instance(name)
    if name.startswith("policies[") and (at := re.match(r"policies\[(\d+)\]", name)):
        run = policies[int(at[1])] if int(at[1]) < len(policies) else {}
        of = [part.get("instance_name") for part in run.values() if isinstance(part, Mapping)]
        wanted = next((str(one) for one in of if one), None)
    for section in _SECTIONS:
        entries = schedule.get(section)
        entry = entries.get(wanted) if isinstance(entries, Mapping) else None
        if isinstance(entry, Mapping):
            yield entry


def _instance(name: str) -> str | None:
    """The instance that a path leads through; none: of the training section, or a name given."""
    found = re.match(rf"(?:{'|'.join(_SECTIONS)}|policies)\.([^.\[]+)", name)
    return None if found is None else found[1]


def _weights(instance: Mapping[str, Any]) -> list[str]:
    for key in ("weights", "reg_regims"):
        weights = instance.get(key)
        if isinstance(weights, list | dict):
            return [str(weight) for weight in weights]
    return []


def _layer(weight: str) -> str:
    return weight.removesuffix(".weight")


def _part(name: str, is_choice: bool) -> str:
    last = re.split(r"[.\[]", name)[-1]
    if name.startswith("training."):
        return "training"
    if name.startswith(("policies", "lr_schedulers")) or last in _TIMING:
        return "schedule timing"
    return _CHOICE if is_choice else "how much goes"


def _merged(layers: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """One group for layers that the same parameters act on."""
    by_parameters: dict[tuple[str, ...], list[str]] = {}
    for layer, names in layers.items():
        by_parameters.setdefault(tuple(names), []).append(layer)
    return {_title(of): list(names) for names, of in by_parameters.items()}


def _title(layers: Sequence[str]) -> str:
    if len(layers) <= 3:
        return ", ".join(layers)
    return f"{layers[0]}, {layers[1]} and {len(layers) - 2} more"
