"""Reads the entries of ``policies``: what runs when, and how.

Depends on: argument_reading, schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_compression.errors import nearest, shown
from stillhouse_compression.schedule.argument_reading import ArgumentReader
from stillhouse_compression.schedule.arguments import (
    FRACTION,
    Argument,
    Refused,
    boolean,
    default,
    integer,
)
from stillhouse_compression.schedule.schedule import KINDS, Component, PolicyEntry
from stillhouse_compression.schedule.window import Window

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


class PolicyReader(ArgumentReader):
    """Reads policies and windows."""

    def policies(
        self, mapping: Mapping[str, Any], components: Mapping[str, Mapping[str, Component]]
    ) -> tuple[PolicyEntry, ...]:
        """The sound policies of a document."""
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
        window = self.window(path, entry)
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
        args = self._policy_args(f"{path}.{kind}.args", kind, entry[kind], component)
        if component is None or window is None:
            return None
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
        self, path: str, kind: str, body: object, component: Component | None
    ) -> dict[str, Any] | None:
        given = body.get("args") if isinstance(body, Mapping) else None
        given = {} if given is None else given
        if not isinstance(given, Mapping):
            self.fault(path, f"found {shown(given)}, wanted a mapping")
            return None
        checked = self.arguments(
            path, given, POLICY_ARGS[kind], f"a {kind} policy", may_ignore=True
        )
        if checked is None or kind != "pruner":
            return checked
        if checked["mask_gradients"] and not checked["mask_on_forward_only"]:
            self.fault(f"{path}.mask_gradients", "needs mask_on_forward_only: true")
        if component is None:
            return checked
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

    def window(self, path: str, entry: Mapping[str, Any]) -> Window | None:
        """The window of a policy's keys, or None when something is wrong with it."""
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
