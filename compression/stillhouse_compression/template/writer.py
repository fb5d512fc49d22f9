"""Writes a template from a network itself: what to prune, tied together where it must be.

Depends on: torch, models, prunable. What it writes is text for people: they are meant to edit it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from torch import nn

from stillhouse_compression.errors import CompressionError, nearest
from stillhouse_compression.models import build, model_info
from stillhouse_compression.template.prunable import Bundle, Per, bundles

Method: TypeAlias = Literal["filters", "elements", "rows"]

_WIDTH = 100
_METHODS_OF = {
    "free": ("filters", "elements"),
    "coupled": ("filters", "elements"),
    "linear": ("elements", "rows"),
}
_SPARSITY = {
    # Coupled filters carry the residual stream: the same share hurts more.
    ("filters", "free"): "!float {low: 0.1, high: 0.8, default: 0.3}",
    ("filters", "coupled"): "!float {low: 0.1, high: 0.5, default: 0.2}",
    ("elements", "free"): "!float {low: 0.3, high: 0.95, default: 0.5}",
    ("elements", "coupled"): "!float {low: 0.3, high: 0.95, default: 0.5}",
    ("elements", "linear"): "!float {low: 0.3, high: 0.95, default: 0.5}",
    ("rows", "linear"): "!float {low: 0.1, high: 0.5, default: 0.2}",
}
_COMMENTS = {
    "free": "Filters that no other layer must lose as well: they are cut one by one.",
    "coupled": (
        "Layers that feed one sum lose the same filters or none: `Group` ranks them together, "
        "`mask_batchnorm` takes the filter's BatchNorm along, so that thinning changes nothing."
    ),
    "linear": "Linear layers: single weights go, the shapes stay.",
}
TRAINING = """\
# Fine-tuning of every trial. The schedule acts in `epochs`; then the zeros are cut out of the
# network, and `recovery_epochs` train what is left.
epochs: !int {low: 2, high: 6}
recovery_epochs: !int {low: 1, high: 3}
lr: !float {low: 0.001, high: 0.1, log: true}
"""


def write_template(
    model: str | nn.Module,
    input_shape: Sequence[int] | None = None,
    methods: Sequence[Method] = ("filters",),
    per: Per = "stage",
    group_size: int = 1,
) -> str:
    """Write a template for a network, with comments.

    It refers to ``training.epochs``, which `write_training` sets: pruning ends with the
    schedule's epochs, so that recovery epochs always follow.

    Args:
        model: Name of a registered network, or a network.
        input_shape: (channels, height, width); None takes the registered network's own.
        methods: ``filters`` cuts whole filters, ``elements`` zeroes single weights, ``rows``
            zeroes inputs of linear layers. Where several fit, the template has a choice.
        per: Whether each layer, each stage (resolution) or the whole network has a sparsity of
            its own.
        group_size: Filters are pruned in multiples of it; 8 suits the Neural Compute Stick.

    Raises:
        CompressionError: Unknown network, method or `per`, no input shape, or nothing to prune.
    """
    _check("method", methods, get_args(Method))
    _check("per", [per], get_args(Per))
    if isinstance(model, str):
        name = model
        input_shape = input_shape or model_info(model).input_shape
        model = build(model)
    else:
        name = type(model).__name__
    if input_shape is None:
        raise CompressionError(
            "input_shape is needed for a network of your own: (channels, height, width)"
        )
    chosen = [b for b in bundles(model, input_shape, per) if _fitting(b, methods)]
    if not chosen:
        raise CompressionError(
            f"{name} has nothing to prune by {', '.join(methods)}; name another method"
        )
    writer = _Writer(chosen, methods, group_size)
    title = (
        f"# {name}: {', '.join(methods)}, a sparsity per {per}; edit ranges and weights at will."
    )
    return "\n".join([title, "version: 1", *writer.pruners(), *writer.policies()]) + "\n"


def write_training() -> str:
    """Write the training section that goes with `write_template`'s templates."""
    return TRAINING


def _check(what: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    for name in given:
        if name not in allowed:
            raise CompressionError(
                f"no {what} {name!r}; there are: {', '.join(allowed)}{nearest(name, allowed)}"
            )
    if not given:
        raise CompressionError(f"name at least one {what}: {', '.join(allowed)}")


def _fitting(bundle: Bundle, methods: Sequence[Method]) -> list[Method]:
    """Give the wanted methods that suit a bundle, in the wanted order."""
    return [method for method in dict.fromkeys(methods) if method in _METHODS_OF[bundle.kind]]


class _Writer:
    """Puts bundles into lines."""

    def __init__(self, chosen: list[Bundle], methods: Sequence[Method], group_size: int) -> None:
        self._methods = methods
        self._group_size = group_size
        self._followers = [bundle for bundle in chosen if bundle.follows is not None]
        # A follower needs a pruner of its own for filters alone: there one verdict is for a group.
        self._bundles = [
            bundle
            for bundle in chosen
            if bundle.follows is None or "filters" in _fitting(bundle, methods)
        ]

    def pruners(self) -> list[str]:
        lines = ["pruners:"]
        told: set[str] = set()
        for bundle in self._bundles:
            if bundle.kind not in told:
                told.add(bundle.kind)
                lines += textwrap.wrap(
                    _COMMENTS[bundle.kind], _WIDTH, initial_indent="  # ", subsequent_indent="  # "
                )
            lines += self._entry(bundle)
        return lines

    def _entry(self, bundle: Bundle) -> list[str]:
        fitting = _fitting(bundle, self._methods)
        if bundle.follows is not None:
            return self._follower(bundle, fitting)
        if len(fitting) == 1:
            return [f"  {bundle.name}:", *self._pruner(bundle, fitting[0], 4)]
        lines = [f"  {bundle.name}: !choice"]
        for method in fitting:
            lines += [f"    {method}:", *self._pruner(bundle, method, 6)]
        return lines

    def _follower(self, bundle: Bundle, fitting: list[Method]) -> list[str]:
        """Write a coupled group that shares the first group's sparsity."""
        leader = f"pruners.{bundle.follows}"
        if len(fitting) == 1:
            shared = f"!ref {leader}.final_sparsity"
            return [f"  {bundle.name}:", *self._pruner(bundle, "filters", 4, shared)]
        return [
            f"  {bundle.name}: !optional",
            f"    when: {{{leader}: filters}}",
            *self._pruner(bundle, "filters", 4, f"!ref {leader}.filters.final_sparsity"),
        ]

    def _pruner(
        self, bundle: Bundle, method: Method, indent: int, sparsity: str | None = None
    ) -> list[str]:
        weights = list(bundle.weights)
        if method == "elements":
            # Single weights need no common verdict: followers join their leader.
            for follower in self._followers:
                if follower.follows == bundle.name:
                    weights += follower.weights
            keys = ["class: AutomatedGradualPruner"]
        else:
            keys = [
                "class: L1RankedStructureParameterPruner_AGP",
                f"group_type: {'Filters' if method == 'filters' else 'Rows'}",
            ]
        if method == "filters":
            if bundle.kind == "coupled":
                keys.append("group_dependency: Group")
            keys.append("mask_batchnorm: true")
            if self._group_size > 1:
                keys.append(f"group_size: {self._group_size}")
        keys.append("initial_sparsity: 0.05")
        keys.append(f"final_sparsity: {sparsity or _SPARSITY[method, bundle.kind]}")
        keys.append(f"weights: [{', '.join(weights)}]")
        pad = " " * indent
        return [
            line
            for key in keys
            for line in textwrap.wrap(
                key,
                _WIDTH,
                initial_indent=pad,
                subsequent_indent=pad + "  ",
                break_on_hyphens=False,
                break_long_words=False,
            )
        ]

    def policies(self) -> list[str]:
        lines = [
            "policies:",
            "  # Pruning ends with the schedule's epochs; recovery epochs follow.",
        ]
        for bundle in self._bundles:
            first = "  - "
            if bundle.follows is not None and len(_fitting(bundle, self._methods)) > 1:
                lines += ["  - !optional", f"    when: {{pruners.{bundle.follows}: filters}}"]
                first = "    "
            lines += [
                f"{first}pruner: {{instance_name: {bundle.name}}}",
                "    starting_epoch: 0",
                "    ending_epoch: !ref training.epochs",
                "    frequency: 1",
            ]
        return lines
