"""Reads the arguments of classes and policies; gathers what is wrong with them.

Depends on: arguments, errors, names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse_compression.errors import Problem, nearest, shown
from stillhouse_compression.schedule.arguments import Argument, Refused, Shapes
from stillhouse_compression.schedule.names import expand_map, match


class ArgumentReader:
    """Checks arguments against what is wanted.

    Args:
        shapes: The network's parameter names and shapes.
        strict: What the original keeps silent about is a problem.

    Attributes:
        problems: What was found wrong, in document order.
        warnings: What was tolerated.
    """

    def __init__(self, shapes: Shapes, strict: bool) -> None:
        self.shapes = shapes
        self.strict = strict
        self.problems: list[Problem] = []
        self.warnings: list[str] = []

    def fault(self, path: str, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(path, message))

    def tolerate(self, path: str, message: str) -> None:
        """A fault that the original keeps silent about: with ``strict=False`` a warning."""
        if self.strict:
            self.fault(path, message)
        else:
            self.warnings.append(f"{path}: {message}")

    def arguments(
        self,
        path: str,
        given: Mapping[Any, Any],
        wanted: Sequence[Argument],
        owner: str,
        *,
        may_ignore: bool = False,
    ) -> dict[str, Any] | None:
        """Check ``given`` against ``wanted``.

        Args:
            path: YAML path of the mapping.
            given: What stands there.
            wanted: What may stand there.
            owner: Whose arguments they are, for messages.
            may_ignore: The original ignores unknown ones.

        Returns:
            Every wanted argument, checked; None when something is wrong.
        """
        n_before = len(self.problems)
        known = [argument.name for argument in wanted]
        for key in given:
            if key not in known:
                allowed = ", ".join(known) or "none"
                message = f"{owner} takes no such argument; allowed: {allowed}{nearest(key, known)}"
                (self.tolerate if may_ignore else self.fault)(f"{path}.{key}", message)
        checked: dict[str, Any] = {}
        for argument in wanted:
            if argument.name in given:
                checked[argument.name] = self._argument(
                    f"{path}.{argument.name}", given[argument.name], argument
                )
            elif argument.required:
                self.fault(path, f"{owner} needs {argument.name!r}, which is missing")
            else:
                checked[argument.name] = argument.default
        return checked if len(self.problems) == n_before else None

    def _argument(self, path: str, value: object, argument: Argument) -> Any:
        try:
            if argument.names == "list":
                return self._names(path, value)
            if argument.names == "map":
                return self._name_map(path, value, argument)
            return argument.check(value)
        except Refused as refusal:
            self.fault(path, str(refusal))
            return None

    def _names(self, path: str, value: object) -> list[str]:
        if isinstance(value, str):
            # Schedules in the wild name a single parameter without a list.
            matches = match(value, self.shapes)
            if not matches:
                self._unknown_name(path, value)
            return matches
        if not isinstance(value, list | tuple) or not value:
            raise Refused(f"found {shown(value)}, wanted a list of parameter names or patterns")
        found: dict[str, None] = {}
        for index, name in enumerate(value):
            if not isinstance(name, str):
                self.fault(f"{path}[{index}]", f"found {shown(name)}, wanted a parameter name")
                continue
            matches = match(name, self.shapes)
            if not matches:
                self._unknown_name(f"{path}[{index}]", name)
            found.update(dict.fromkeys(matches))
        return list(found)

    def _name_map(self, path: str, value: object, argument: Argument) -> dict[str, Any]:
        if not isinstance(value, Mapping) or not value:
            raise Refused(f"found {shown(value)}, wanted a mapping keyed by parameter names")
        checked: dict[str, Any] = {}
        for name, item in value.items():
            if not isinstance(name, str):
                self.fault(f"{path}.{name}", f"found {shown(name)}, wanted a parameter name")
                continue
            if name == "*" and not argument.wildcard:
                self.fault(f"{path}.*", "'*' has no meaning here; name parameters or use a pattern")
                continue
            if name != "*" and not match(name, self.shapes):
                self._unknown_name(f"{path}.{name}", name)
                if not self.strict:
                    continue  # it will never act, whatever it says
            try:
                checked[name] = argument.check(item)
            except Refused as refusal:
                self.fault(f"{path}.{name}", str(refusal))
        expanded = expand_map(checked, self.shapes)
        if "*" in checked:
            expanded["*"] = checked["*"]
        return expanded

    def _unknown_name(self, path: str, name: str) -> None:
        self.tolerate(
            path, f"the network has no parameter {shown(name)}{nearest(name, self.shapes)}"
        )
