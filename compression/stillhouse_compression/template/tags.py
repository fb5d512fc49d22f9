"""What the search tags `!float`, `!int`, `!choice`, `!ordinal` and `!ref` say.

Depends on: PyYAML, safe_yaml, yaml_mapping, parameters, errors. Reads one tag's arguments;
where in the tree it stands is the template reader's business.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import yaml

from stillhouse_compression.template.errors import Findings
from stillhouse_compression.template.parameters import Parameter, middle
from stillhouse_compression.template.safe_yaml import Value, YamlError, scalar
from stillhouse_compression.template.yaml_mapping import Entries, MappingReader, place_of

SEARCH_TAGS = ("!float", "!int", "!choice", "!ordinal", "!optional", "!ref")
RANGE_ARGUMENTS = ("low", "high", "log", "step", "default", "name", "prior")
CHOICE_ARGUMENTS = ("choices", "default", "name", "prior")
MAX_CHOICES = 200
MAX_NAME = 200
MAX_INT = 2**53  # beyond it neighbours collapse in a float, which every surrogate works with


class TagReader:
    """Reads the arguments of tags; what is wrong goes to ``findings``."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.mappings = MappingReader(findings)

    def value(self, node: yaml.Node, path: str, is_tagged: bool = False) -> Value:
        """Read a plain scalar; None, with the problem noted, where it is none."""
        place = place_of(node, path)
        if not isinstance(node, yaml.ScalarNode):
            self._findings.add(place, "must be a plain value, not a list or mapping")
        elif not is_tagged and not node.tag.startswith("tag:yaml.org"):
            self._findings.add(place, f"must be a plain value, not {node.tag}")
        else:
            try:
                return scalar(node, is_tagged)
            except YamlError as error:
                self._findings.add(place, str(error))
        return None

    def name(self, arguments: Entries, path: str) -> str | None:
        """Read the ``name:`` argument; None where there is none."""
        if "name" not in arguments:
            return None
        node = arguments["name"][1]
        value = self.value(node, f"{path}.name")
        if isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable():
            return value
        self._findings.add(
            place_of(node, f"{path}.name"),
            f"a name is printable text of 1 to {MAX_NAME} characters, got {str(value)[:40]!r}",
        )
        return None

    def range(self, kind: Literal["float", "int"], node: yaml.Node, path: str) -> Parameter | None:
        """Read ``!float`` or ``!int``; the name is empty where none is given."""
        what = f"!{kind}"
        arguments = self.mappings.arguments(node, RANGE_ARGUMENTS, what, path)
        if arguments is None:
            return None
        place = place_of(node, path)
        missing = [end for end in ("low", "high") if end not in arguments]
        for end in missing:
            self._findings.add(place, f"{what} needs {end!r}: write {what} {{low: …, high: …}}")
        low, high, step = (
            self._number(kind, arguments, key, path) for key in ("low", "high", "step")
        )
        is_log = self._flag(arguments, "log", path)
        name = self.name(arguments, path)
        if low is None or high is None:
            return None
        n_before = self._findings.n_found
        if low >= high:
            self._findings.add(
                place,
                f"the range is empty: low {low} is not below high {high}; "
                "a single value is written without a tag",
            )
        if is_log and low <= 0:
            self._findings.add(place, f"log needs low above 0, got {low}")
        if step is not None and step <= 0:
            self._findings.add(place, f"step must be above 0, got {step}")
        elif step is not None and low < high and step > high - low:
            self._findings.add(place, f"step {step} leaves one value between {low} and {high}")
        if step is not None and is_log:
            self._findings.add(place, "log and step do not go together; drop one")
        if self._findings.n_found > n_before:
            return None
        default = self._number(kind, arguments, "default", path)
        if default is None:
            default = middle(kind, low, high, is_log, step)
        parameter = Parameter(name or "", kind, default, low, high, is_log, step)
        parameter = replace(parameter, prior=self._prior(parameter, arguments, path))
        self._admit_default(parameter, default, arguments, path)
        return parameter

    def _prior(
        self, parameter: Parameter, arguments: Entries, path: str
    ) -> tuple[float, float] | None:
        """Read ``prior: {center:, width:}`` of a range; None where there is none."""
        if "prior" not in arguments:
            return None
        node, path = arguments["prior"][1], f"{path}.prior"
        found = self.mappings.arguments(node, ("center", "width"), "prior", path)
        if found is None:
            return None
        place = place_of(node, path)
        for key in ("center", "width"):
            if key not in found:
                message = f"prior needs {key!r}: write prior: {{center: …, width: …}}"
                self._findings.add(place, message)
        center, width = (self._number("float", found, key, path) for key in ("center", "width"))
        if center is None or width is None:
            return None
        low, high = parameter.bounds()
        if not low <= center <= high:
            place = place_of(found["center"][1], f"{path}.center")
            self._findings.add(place, f"center must lie in [{low}, {high}], got {center}")
        least = 1 if parameter.log else 0
        if width <= least:
            place = place_of(found["width"][1], f"{path}.width")
            what = "with log a factor, above 1" if parameter.log else "above 0"
            self._findings.add(place, f"width must be {what}, got {width}")
        return float(center), float(width)

    def choice(
        self, kind: Literal["choice", "ordinal"], node: yaml.Node, path: str
    ) -> Parameter | None:
        """Read a choice of scalars: a list, or ``{choices: [...], default:, name:, prior:}``."""
        what = f"!{kind}"
        arguments: Entries = {}
        listing = node
        if isinstance(node, yaml.MappingNode):
            if "choices" not in self.mappings.entries(node, path):
                self._findings.add(
                    place_of(node, path), f"{what} takes a list of values, or 'choices' with one"
                )
                return None
            found = self.mappings.arguments(node, CHOICE_ARGUMENTS, what, path) or {}
            arguments, listing = found, found["choices"][1]
        if not isinstance(listing, yaml.SequenceNode):
            self._findings.add(place_of(node, path), f"{what} takes a list of values")
            return None
        choices: list[Value] = []
        n_before = self._findings.n_found
        for index, item in enumerate(listing.value[: MAX_CHOICES + 1]):
            value = self.value(item, f"{path}[{index}]")
            self._check_choice(value, choices, item, f"{path}[{index}]")
            choices.append(value)
        self.check_count(len(listing.value), path, node, what)
        if self._findings.n_found > n_before:
            return None
        parameter = Parameter(
            self.name(arguments, path) or "", kind, choices[0], choices=tuple(choices)
        )
        return self.told(parameter, arguments, path)

    def told(self, parameter: Parameter, arguments: Entries, path: str) -> Parameter:
        """Give a choice with the ``default:`` and ``prior:`` of its arguments."""
        weights = self._weights(parameter, arguments, path)
        return replace(parameter, default=self._option(parameter, arguments, path), weights=weights)

    def _weights(self, parameter: Parameter, arguments: Entries, path: str) -> tuple[float, ...]:
        """Read ``prior: {value: weight, ...}`` of a choice; a value that is left out weighs 1."""
        if "prior" not in arguments:
            return ()
        node, path = arguments["prior"][1], f"{path}.prior"
        if not isinstance(node, yaml.MappingNode):
            message = "prior of a choice takes a mapping of its values to weights: prior: {…: 3}"
            self._findings.add(place_of(node, path), message)
            return ()
        told: dict[Value, float] = {}
        if not node.value:
            self._findings.add(place_of(node, path), "prior names no value; drop it")
        # Keys by their values, not as written: null and 'null' may both be choices.
        for entry in node.value:
            key = str(entry[0].value) if isinstance(entry[0], yaml.ScalarNode) else "?"
            n_before = self._findings.n_found
            value = self.member(parameter, entry[0], f"{path}.{key}")
            weight = self._number("float", {key: entry}, key, path)
            if weight is None or self._findings.n_found > n_before:
                continue
            place = place_of(entry[1], f"{path}.{key}")
            if not 1e-6 <= weight <= 1e6:
                message = (
                    f"a weight lies between 1e-6 and 1e6, got {weight}; "
                    "a value that is not wanted is left out of the choices"
                )
                self._findings.add(place, message)
            elif value in told:
                self._findings.add(place, f"{value!r} stands twice")
            else:
                told[value] = float(weight)
        return tuple(told.get(choice, 1.0) for choice in parameter.choices)

    def _option(self, parameter: Parameter, arguments: Entries, path: str) -> Value:
        """Read the ``default:`` of a choice; its own default where there is none."""
        if "default" not in arguments:
            return parameter.default
        return self.member(parameter, arguments["default"][1], f"{path}.default")

    def member(self, parameter: Parameter, node: yaml.Node, path: str) -> Value:
        """Read one value of a known parameter; its default, with the problem noted, if it is none.

        A block named ``off`` or ``yes`` is meant by its text, though YAML 1.1 reads a boolean.
        """
        value = self.value(node, path)
        for candidate in (value, node.value if isinstance(node, yaml.ScalarNode) else value):
            try:
                return parameter.admit(candidate)
            except ValueError:
                continue
        try:
            parameter.admit(value)
        except ValueError as error:
            self._findings.add(place_of(node, path), str(error))
        return parameter.default

    def check_count(self, n: int, path: str, node: yaml.Node, what: str) -> None:
        """Refuse a choice of fewer than two or too many."""
        if n < 2:
            self._findings.add(
                place_of(node, path),
                f"{what} needs at least two choices, got {n}; a single value is written plainly",
            )
        elif n > MAX_CHOICES:
            self._findings.add(
                place_of(node, path), f"{what} takes at most {MAX_CHOICES} choices, got {n}"
            )

    def _check_choice(self, value: Value, before: list[Value], node: yaml.Node, path: str) -> None:
        """Refuse a choice that cannot be told from another or cannot travel as JSON."""
        place = place_of(node, path)
        if isinstance(value, float) and not math.isfinite(value):
            self._findings.add(place, f"{value} is no choice; write a finite number")
        elif isinstance(value, int) and abs(value) > MAX_INT:
            self._findings.add(place, "the number is too large (at most 2**53)")
        elif isinstance(value, str) and not (value.isprintable() and len(value) <= MAX_NAME):
            self._findings.add(place, f"a text choice is printable and at most {MAX_NAME} long")
        elif value in before:
            twin = next(other for other in before if other == value)
            same = "stands twice" if repr(twin) == repr(value) else f"cannot be told from {twin!r}"
            self._findings.add(place, f"{value!r} {same} among the choices")

    def _number(
        self, kind: Literal["float", "int"], arguments: Entries, key: str, path: str
    ) -> float | int | None:
        """Read a numeric argument; None where it is missing or, with the problem noted, wrong."""
        if key not in arguments:
            return None
        node = arguments[key][1]
        place = place_of(node, f"{path}.{key}")
        n_before = self._findings.n_found
        value = self.value(node, place.path)
        if self._findings.n_found > n_before:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._findings.add(place, f"{key!r} must be a number, got {value!r}")
        elif not abs(value) <= (MAX_INT if isinstance(value, int) else 1e300):
            self._findings.add(place, f"{key!r} must be finite and not huge, got {value}")
        elif kind == "int" and isinstance(value, float):
            self._findings.add(place, f"{key!r} of !int must be a whole number, got {value}")
        else:
            return value if kind == "int" else float(value)
        return None

    def _flag(self, arguments: Entries, key: str, path: str) -> bool:
        """Read a true/false argument; False where it is missing."""
        if key not in arguments:
            return False
        node = arguments[key][1]
        value = self.value(node, f"{path}.{key}")
        if not isinstance(value, bool):
            self._findings.add(
                place_of(node, f"{path}.{key}"), f"{key!r} must be true or false, got {value!r}"
            )
            return False
        return value

    def _admit_default(
        self, parameter: Parameter, default: Value, arguments: Entries, path: str
    ) -> None:
        """Refuse a default outside its own range."""
        try:
            parameter.admit(default)
        except ValueError as error:
            node = arguments["default"][1]
            self._findings.add(place_of(node, f"{path}.default"), f"default {error}")

    def reference(self, node: yaml.Node, path: str) -> tuple[str, float | int, float | int] | None:
        """Read ``!ref name`` or ``!ref {name:, scale:, offset:}`` as (name, scale, offset)."""
        if isinstance(node, yaml.ScalarNode):
            if not 0 < len(node.value) <= 10 * MAX_NAME:
                self._findings.add(place_of(node, path), "!ref needs the name it refers to")
                return None
            return node.value, 1, 0
        arguments = self.mappings.arguments(node, ("name", "scale", "offset"), "!ref", path)
        if arguments is None:
            return None
        if "name" not in arguments:
            self._findings.add(place_of(node, path), "!ref needs 'name'")
            return None
        name = self.name(arguments, path)
        numbers: list[float | int] = []
        for key, neutral in (("scale", 1), ("offset", 0)):
            number = self._number("float", arguments, key, path)
            numbers.append(neutral if number is None else _tidy(number))
        return None if name is None else (name, numbers[0], numbers[1])


def _tidy(number: float | int) -> float | int:
    """Give whole numbers as int: an offset of -1 keeps an epoch an integer."""
    return int(number) if number == int(number) else number
