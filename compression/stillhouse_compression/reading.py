"""Reads a schedule's mapping, finds everything that is wrong with it, all at once.

``check_schedule`` is the door for others: problems of a mapping against a network,
without training.

Depends on: torch (for the parameters' names and shapes), registry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from stillhouse_compression import registry
from stillhouse_compression.arguments import (
    FRACTION,
    Argument,
    ClassSpec,
    Refused,
    Shapes,
    boolean,
    default,
    integer,
    number,
    text,
)
from stillhouse_compression.errors import Problem, nearest, shown
from stillhouse_compression.names import expand_map, match
from stillhouse_compression.schedule import (
    KINDS,
    SECTIONS,
    Component,
    DistillationEntry,
    PolicyEntry,
    Schedule,
)
from stillhouse_compression.window import ALWAYS, Window

TOP_LEVEL = ("version", *SECTIONS, "quantizers", "policies", "distillation")
WINDOW_KEYS = ("epochs", "starting_epoch", "ending_epoch", "frequency")
PRUNER_ARGS = (
    Argument("levels", FRACTION, required=False, names="map", wildcard=True),
    default("mini_batch_pruning_frequency", integer(0), 0),
    default("mask_on_forward_only", boolean, False),
    default("use_double_copies", boolean, False),
    default("mask_gradients", boolean, False),
    default("discard_masks_at_minibatch_end", boolean, False),
    default("keep_mask", boolean, False),
    default("skip_first_minibatch", boolean, False),
    default("fold_batchnorm", boolean, False),
    default("mask_batchnorm", boolean, False),
)
POLICY_ARGS: Mapping[str, tuple[Argument, ...]] = {
    "pruner": PRUNER_ARGS,
    "regularizer": (default("keep_mask", boolean, False),),
    "lr_scheduler": (),
    "extension": (),
}
EPOCH_LIMIT = 2**31


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


class _Reader:
    """Walks one document and gathers problems on the way."""

    def __init__(self, shapes: Shapes, strict: bool) -> None:
        self.shapes = shapes
        self.strict = strict
        self.problems: list[Problem] = []
        self.warnings: list[str] = []

    def fault(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))

    def tolerate(self, path: str, message: str) -> None:
        """A fault that the original keeps silent about: with ``strict=False`` a warning."""
        if self.strict:
            self.fault(path, message)
        else:
            self.warnings.append(f"{path}: {message}")

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
        policies = self._policies(mapping, components)
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
        arguments = self._arguments(path, given, spec.arguments, spec.name)
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

    # Arguments ------------------------------------------------------------------------

    def _arguments(
        self,
        path: str,
        given: Mapping[Any, Any],
        wanted: Sequence[Argument],
        owner: str,
        *,
        may_ignore: bool = False,
    ) -> dict[str, Any] | None:
        """Check ``given`` against ``wanted``; None when something is wrong."""
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

    # Policies -------------------------------------------------------------------------

    def _policies(
        self, mapping: Mapping[str, Any], components: Mapping[str, Mapping[str, Component]]
    ) -> tuple[PolicyEntry, ...]:
        if "policies" not in mapping:
            self.fault(
                "policies", "missing; a schedule needs a list of policies (an empty one will do)"
            )
            return ()
        entries = mapping["policies"]
        if not isinstance(entries, list | tuple):
            self.fault("policies", f"found {shown(entries)}, wanted a list")
            return ()
        read = [
            self._policy(f"policies[{index}]", entry, mapping, components)
            for index, entry in enumerate(entries)
        ]
        return tuple(entry for entry in read if entry is not None)

    def _policy(
        self,
        path: str,
        entry: object,
        mapping: Mapping[str, Any],
        components: Mapping[str, Mapping[str, Component]],
    ) -> PolicyEntry | None:
        if not isinstance(entry, Mapping):
            self.fault(path, f"found {shown(entry)}, wanted a mapping")
            return None
        n_before = len(self.problems)
        allowed = (*KINDS, *WINDOW_KEYS)
        for key in entry:
            if key not in allowed:
                self.fault(
                    f"{path}.{key}",
                    f"unknown key; allowed: {', '.join(allowed)}{nearest(key, allowed)}",
                )
        window = self._window(path, entry)
        kinds = [kind for kind in KINDS if kind in entry]
        if len(kinds) != 1:
            found = " and ".join(kinds) or "none of them"
            self.fault(path, f"found {found}, wanted exactly one of {', '.join(KINDS)}")
            return None
        kind = kinds[0]
        if kind == "quantizer":
            self.fault(f"{path}.quantizer", "this engine does not quantize")
            return None
        component = self._instance(f"{path}.{kind}", kind, entry[kind], mapping, components)
        if component is None or window is None:
            return None
        args = self._policy_args(f"{path}.{kind}.args", kind, entry[kind], component)
        fault = component.spec.window(component.arguments, window)
        if fault is not None:
            self.fault(path, fault)
        if args is None or len(self.problems) > n_before:
            return None
        return PolicyEntry(kind, component.name, window, args, path)

    def _instance(
        self,
        path: str,
        kind: str,
        body: object,
        mapping: Mapping[str, Any],
        components: Mapping[str, Mapping[str, Component]],
    ) -> Component | None:
        if not isinstance(body, Mapping) or "instance_name" not in body:
            self.fault(path, f"found {shown(body)}, wanted a mapping with instance_name")
            return None
        for key in body:
            if key not in ("instance_name", "args"):
                hint = nearest(key, ("instance_name", "args"))
                if key in WINDOW_KEYS:
                    hint = f"; it stands beside {kind!r}, not inside it"
                self.fault(f"{path}.{key}", f"unknown key; allowed: instance_name, args{hint}")
        section = KINDS[kind]
        name = str(body["instance_name"])
        defined = mapping.get(section)
        known = [str(key) for key in defined] if isinstance(defined, Mapping) else []
        if name not in known:
            self.fault(
                f"{path}.instance_name",
                f"{section} defines no {shown(body['instance_name'])}; "
                f"defined: {', '.join(known) or 'none'}{nearest(name, known)}",
            )
        # None when it is defined but wrong: that was told at its definition.
        return components[section].get(name)

    def _policy_args(
        self, path: str, kind: str, body: Mapping[str, Any], component: Component
    ) -> dict[str, Any] | None:
        given = body.get("args")
        given = {} if given is None else given
        if not isinstance(given, Mapping):
            self.fault(path, f"found {shown(given)}, wanted a mapping")
            return None
        checked = self._arguments(
            path, given, POLICY_ARGS[kind], f"a {kind} policy", may_ignore=True
        )
        if checked is None or kind != "pruner":
            return checked
        if checked["mask_gradients"] and not checked["mask_on_forward_only"]:
            self.fault(f"{path}.mask_gradients", "needs mask_on_forward_only: true")
        if checked["levels"] and component.spec.name != "SparsityLevelParameterPruner":
            self.tolerate(
                f"{path}.levels",
                f"only SparsityLevelParameterPruner takes levels, not {component.spec.name}",
            )
            checked["levels"] = None
        takes_filters = component.arguments.get("group_type") in ("Filters", "3D")
        if checked["mask_batchnorm"] and not takes_filters:
            self.fault(f"{path}.mask_batchnorm", "only filters have a BatchNorm to mask with them")
        return checked

    # Windows --------------------------------------------------------------------------

    def _window(self, path: str, entry: Mapping[str, Any]) -> Window | None:
        if "epochs" in entry:
            return self._epochs(f"{path}.epochs", entry["epochs"])
        n_before = len(self.problems)
        bounds: dict[str, int] = {}
        for key, low in (("starting_epoch", 0), ("ending_epoch", 1), ("frequency", 1)):
            if key not in entry:
                self.fault(
                    path,
                    f"{key} is missing; give starting_epoch, ending_epoch, frequency or epochs",
                )
                continue
            try:
                bounds[key] = integer(low, EPOCH_LIMIT)(entry[key])
            except Refused as refusal:
                self.fault(f"{path}.{key}", str(refusal))
        if len(self.problems) > n_before:
            return None
        start, end, step = bounds["starting_epoch"], bounds["ending_epoch"], bounds["frequency"]
        if end <= start:
            self.fault(
                f"{path}.ending_epoch",
                f"found {end}, wanted more than starting_epoch ({start}): the end is exclusive",
            )
            return None
        if step > end - start:
            self.fault(
                f"{path}.frequency",
                f"found {step}, wanted at most ending_epoch - starting_epoch ({end - start})",
            )
            return None
        return Window(start, end, step)

    def _epochs(self, path: str, value: object) -> Window | None:
        if not isinstance(value, list | tuple) or not value:
            self.fault(path, f"found {shown(value)}, wanted a list of epochs")
            return None
        epochs: list[int] = []
        for index, epoch in enumerate(value):
            try:
                epochs.append(integer(0, EPOCH_LIMIT)(epoch))
            except Refused as refusal:
                self.fault(f"{path}[{index}]", str(refusal))
        if len(epochs) != len(value):
            return None
        return Window.of_epochs(epochs)

    # Distillation ---------------------------------------------------------------------

    def _distillation(self, entry: object) -> DistillationEntry | None:
        path = "distillation"
        if not isinstance(entry, Mapping):
            self.fault(path, f"found {shown(entry)}, wanted a mapping with teacher, temperature")
            return None
        window: Window | None = ALWAYS
        given = {key: value for key, value in entry.items() if key not in WINDOW_KEYS}
        if len(given) < len(entry):
            window = self._window(path, entry)
        weights = given.pop("weights", None)
        wanted = (
            default("teacher", text, "initial"),
            default("temperature", number(0.0, open_low=True), 1.0),
        )
        checked = self._arguments(path, given, wanted, "distillation")
        weight = self._arguments(
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
