"""Writes a template from what a sweep found: only layers that gained, ranges around good values.

Depends on: the standard library. What it writes is text for people, like writer.py's.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH = 100


@dataclass(frozen=True)
class Gain:
    """Layers that a pruner made a network faster with.

    Attributes:
        name: Instance name.
        classes: Ranked pruner classes that gained, the best first; several become a choice.
        weights: Parameter names.
        is_coupled: Whether they lose the same filters or none.
        low: Least share of filters to search.
        high: Largest.
        default: Where the fastest trial within the limits lay.
        why: The evidence, for the reader.
    """

    name: str
    classes: tuple[str, ...]
    weights: tuple[str, ...]
    is_coupled: bool
    low: float
    high: float
    default: float
    why: str


def write_sweep_template(title: str, gains: Sequence[Gain], left_out: Sequence[str]) -> str:
    """Write the template, with comments.

    It refers to ``training.epochs``, as `write_template`'s does.

    Args:
        title: Where it comes from.
        gains: What is searched; at least one.
        left_out: What is not, each with its reason.
    """
    lines = [*_comment(title, "")]
    if left_out:
        lines += ["#", "# Left out:"]
        lines += [line for reason in left_out for line in _comment(f"* {reason}", "")]
    lines += ["version: 1", "pruners:"]
    for gain in gains:
        lines += _comment(gain.why, "  ")
        lines += [f"  {gain.name}:", *_pruner(gain)]
    lines += ["policies:", "  # Pruning ends with the schedule's epochs; recovery epochs follow."]
    for gain in gains:
        lines += [
            f"  - pruner: {{instance_name: {gain.name}}}",
            "    starting_epoch: 0",
            "    ending_epoch: !ref training.epochs",
            "    frequency: 1",
        ]
    return "\n".join(lines) + "\n"


def _comment(text: str, pad: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{pad}# ",
        subsequent_indent=f"{pad}#   ",
        break_long_words=False,
    )


def _pruner(gain: Gain) -> list[str]:
    one = gain.classes[0] if len(gain.classes) == 1 else f"!choice [{', '.join(gain.classes)}]"
    keys = [f"class: {one}", "group_type: Filters"]
    if gain.is_coupled:
        keys.append("group_dependency: Group")
    keys.append("mask_batchnorm: true")
    keys.append(f"initial_sparsity: {min(0.05, gain.low / 2):g}")
    span = f"{{low: {gain.low:g}, high: {gain.high:g}, default: {gain.default:g}}}"
    keys.append(f"final_sparsity: !float {span}")
    keys.append(f"weights: [{', '.join(gain.weights)}]")
    return [
        line
        for key in keys
        for line in textwrap.wrap(
            key,
            _WIDTH,
            initial_indent="    ",
            subsequent_indent="      ",
            break_on_hyphens=False,
            break_long_words=False,
        )
    ]
