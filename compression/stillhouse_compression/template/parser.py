"""Template and training text into checked trees and a search space.

Depends on: safe_yaml, reader, branches, search_space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from stillhouse_compression.errors import nearest
from stillhouse_compression.template.branches import BranchCheck, implied_conditions, shown
from stillhouse_compression.template.errors import Findings, Place
from stillhouse_compression.template.parameters import Parameter
from stillhouse_compression.template.reader import Spot, TemplateReader
from stillhouse_compression.template.safe_yaml import Value, YamlError, compose
from stillhouse_compression.template.search_space import Clause, SearchSpace, closed
from stillhouse_compression.template.tree import Block, Tree
from stillhouse_compression.template.yaml_mapping import place_of

_MAP = "tag:yaml.org,2002:map"


@dataclass(frozen=True)
class Reading:
    """What the two texts say."""

    schedule: Block
    training: Block
    space: SearchSpace
    targets: Mapping[str, Tree]


def read(template_yaml: str, training_yaml: str) -> Reading:
    """Read both texts and check all that needs no network.

    Raises:
        TemplateErrors: With every problem at its YAML path, line and column.
    """
    findings = Findings()
    schedule = _document(template_yaml, "", findings)
    training = _document(training_yaml, "training", findings)
    if schedule is None:
        if not findings.problems:
            findings.add(Place("", 1, 1), "is empty; a schedule needs 'policies'")
        findings.raise_if_any()
    # Three times: `when` may name a choice that stands further down, and which instances hang on
    # a policy that may be off is known only when all conditions are.
    first = _Texts(TemplateReader(Findings(), {}, {}), schedule, training)
    second = _Texts(TemplateReader(Findings(), first.reader.parameters, {}), schedule, training)
    known = second.reader.parameters
    implied = implied_conditions(second.schedule, second.reader.places)
    texts = _Texts(TemplateReader(findings, known, implied), schedule, training)
    reader = texts.reader
    parameters = _closed(reader, findings)
    space = SearchSpace(tuple(parameters.values()), _forbidden(reader, parameters, schedule))
    check = BranchCheck(space, reader.targets, reader.broken, findings)
    check.references(reader.references)
    check.instances(texts.schedule)
    if not findings.problems and space.is_forbidden(space.default_config()):
        findings.add(
            Place("forbid", *texts.forbid_at),
            f"the default config is forbidden ({shown(space.default_config())}); "
            "give another 'default' or forbid less",
        )
    findings.raise_if_any()
    targets = {name: target.tree for name, target in reader.targets.items()}
    return Reading(texts.schedule, texts.training, space, targets)


def _document(text: str, path: str, findings: Findings) -> yaml.MappingNode | None:
    """Compose a document; None where it is empty or, with the problem noted, no mapping."""
    try:
        node = compose(text)
    except YamlError as error:
        findings.add(Place(path, error.line or 1, error.column or 1), str(error))
        return None
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return None
    if not isinstance(node, yaml.MappingNode) or node.tag != _MAP:
        findings.add(place_of(node, path), "must be a mapping, without a tag of its own")
        return None
    return node


class _Texts:
    """Both documents, read into trees by one reader."""

    def __init__(
        self,
        reader: TemplateReader,
        schedule: yaml.MappingNode | None,
        training: yaml.MappingNode | None,
    ) -> None:
        self.reader = reader
        self.forbid_at = (1, 1)
        self.schedule = self._tree(schedule, "")
        self.training = self._tree(training, "training")

    def _tree(self, node: yaml.MappingNode | None, prefix: str) -> Block:
        if node is None:
            return Block((), Place(prefix, 1, 1))
        entries = dict(self.reader.entries(node, prefix))
        if not prefix:
            if "forbid" in entries:
                place = place_of(entries.pop("forbid")[0], "forbid")
                self.forbid_at = (place.line, place.column)
            if "training" in entries:
                self.reader.findings.add(
                    place_of(entries.pop("training")[0], "training"),
                    "belongs to the study's training section, not to the schedule",
                )
        return self.reader.block(entries, Spot(prefix, prefix), node)


def _closed(reader: TemplateReader, findings: Findings) -> dict[str, Parameter]:
    """Give the parameters with closed conditions; refuse those that can never be active."""
    parameters = closed(reader.parameters)
    for name, parameter in parameters.items():
        place = reader.places[name]
        if name in [condition.parent for condition in parameter.condition]:
            findings.add(place, f"{name!r} would decide about itself; change its 'when'")
        elif not all(condition.values for condition in parameter.condition):
            findings.add(place, f"{name!r} can never be active: its conditions exclude it")
    return parameters


def _forbidden(
    reader: TemplateReader,
    parameters: Mapping[str, Parameter],
    schedule: yaml.MappingNode | None,
) -> tuple[Clause, ...]:
    """Read the `forbid:` list."""
    entries = {} if schedule is None else reader.entries(schedule, "")
    if "forbid" not in entries:
        return ()
    node = entries["forbid"][1]
    if not isinstance(node, yaml.SequenceNode):
        reader.findings.add(
            place_of(node, "forbid"), "must be a list of mappings: name -> value or values"
        )
        return ()
    clauses: list[Clause] = []
    for index, item in enumerate(node.value):
        path = f"forbid[{index}]"
        if not isinstance(item, yaml.MappingNode) or item.tag != _MAP or not item.value:
            reader.findings.add(
                place_of(item, path), "must be a mapping: name -> value or list of values"
            )
            continue
        n_before = reader.findings.n_found
        clause: dict[str, tuple[Value, ...]] = {}
        for name, (key, value) in reader.entries(item, path).items():
            parameter = parameters.get(name)
            if name in reader.broken:
                continue
            if parameter is None:
                reader.findings.add(
                    place_of(key, f"{path}.{name}"), f"no such parameter{nearest(name, parameters)}"
                )
            elif parameter.kind == "float" and parameter.step is None:
                reader.findings.add(
                    place_of(key, f"{path}.{name}"),
                    "a float is never exactly one value; narrow its range or give it a 'step'",
                )
            else:
                values = value.value if isinstance(value, yaml.SequenceNode) else [value]
                clause[name] = tuple(
                    reader.member(parameter, one, f"{path}.{name}") for one in values
                )
        # One that was refused in part would forbid too much, and hide what else is wrong.
        if reader.findings.n_found == n_before and clause:
            clauses.append(clause)
    return tuple(clauses)
